#include "text.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace extrapolation {

std::string read_file(const std::string& path, std::size_t limit) {
  const auto refuse = [&](const std::string& reason) {
    throw std::runtime_error("cannot read " + path + ": " + reason);
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (!file) refuse(std::strerror(errno));
  std::string text;
  char part[1 << 16];
  while (const std::size_t count = std::fread(part, 1, sizeof part, file.get())) {
    if (text.size() + count > limit) {
      refuse("it has more than " + std::to_string(limit) + " bytes");
    }
    text.append(part, count);
  }
  if (std::ferror(file.get()) != 0) refuse(std::strerror(errno));  // a folder, among others
  if (text.empty()) refuse("it is empty");
  return text;
}

}  // namespace extrapolation
