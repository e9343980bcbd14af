// Calls of attention over views of any layout.

#include "fuzz_call.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzzing::provider bytes(data, size);
  fuzzing::fuzz_call(bytes, {});
  return 0;
}
