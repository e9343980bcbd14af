#pragma once
// The files of tests/golden, each with its provenance inside.

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace support {

inline nlohmann::json golden(const std::string& name) {
  const std::string path = RELPOS_TEST_DATA "/" + name;
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot open " + path);
  return nlohmann::json::parse(file);
}

}  // namespace support
