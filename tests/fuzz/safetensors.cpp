// Weights of any bytes are read, or refused by an exception that a program prints.

#include "train_short_test_long/safetensors.hpp"

#include <cstddef>
#include <cstdint>
#include <stdexcept>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const extrapolation::safetensors read("file", {reinterpret_cast<const char*>(data), size});
  } catch (const std::runtime_error&) {
  }
  return 0;
}
