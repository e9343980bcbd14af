#pragma once
// A sheet of pictures in SVG: the scores and visible keys of every encoding and mask, the
// expectation curves of RoPE and XPOS, and the buckets of T5.

#include <string>

namespace demo {

/// Writes the sheet. Throws std::runtime_error if `path` cannot be written.
void write_sheet(const std::string& path);

}  // namespace demo
