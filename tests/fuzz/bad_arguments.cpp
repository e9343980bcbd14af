// Calls of attention over views with numbers that no call can have.

#include "fuzz_call.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzzing::provider bytes(data, size);
  fuzzing::fuzz_call(bytes, {.once_in = 24});
  return 0;
}
