#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

/// The first bytes of a file, at most `limit`. Throws std::runtime_error, with a message of one
/// line, for a file that cannot be read or is empty.
inline std::string first_bytes(const std::string& path, std::size_t limit) {
  const auto refuse = [&](const char* reason) {
    throw std::runtime_error("cannot read " + path + ": " + reason);
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (!file) refuse(std::strerror(errno));
  std::string bytes;
  char part[1 << 16];
  while (const std::size_t count =
             std::fread(part, 1, std::min(sizeof part, limit - bytes.size()), file.get())) {
    bytes.append(part, count);
  }
  if (std::ferror(file.get()) != 0) refuse(std::strerror(errno));  // a directory, among others
  if (bytes.empty()) refuse("it is empty");
  return bytes;
}
