#pragma once

#include <cstddef>
#include <string>

namespace extrapolation {

/// A file's bytes. Throws std::runtime_error, with a message of one line, for a file that cannot be
/// read, is empty or has more than `limit` bytes.
std::string read_file(const std::string& path, std::size_t limit);

}  // namespace extrapolation
