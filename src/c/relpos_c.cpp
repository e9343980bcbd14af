// The C interface: each function calls the one of an instruction set, the best that the processor
// has among the sets that the library was compiled for.

#include "relpos_c.h"

#include <cstdlib>
#include <cstring>

#include "c/functions.hpp"

namespace {

using relpos_c::functions;

/// RELPOS_INSTRUCTION_SET leaves out better ones.
[[maybe_unused]] bool may_be(const char* set) {
  const char* const asked = std::getenv("RELPOS_INSTRUCTION_SET");
  return asked == nullptr || *asked == 0 || std::strcmp(asked, set) == 0;
}

const functions& best() {
#if defined(RELPOS_C_HAS_AVX512)
  if (may_be("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512cd")) {
    return relpos_c::avx512;
  }
#endif
#if defined(RELPOS_C_HAS_AVX2)
  if (may_be("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return relpos_c::avx2;
  }
#endif
  return relpos_c::baseline;
}

const functions& chosen() {
  static const functions& result = best();
  return result;
}

}  // namespace

extern "C" {

size_t relpos_workspace_bytes(const relpos_call* call, int64_t threads) {
  return chosen().workspace_bytes(call, threads);
}

relpos_status relpos_attention(const relpos_call* call, void* workspace, size_t bytes,
                               const relpos_team* team) {
  return chosen().attention(call, workspace, bytes, team);
}

relpos_status relpos_append(const relpos_cache* cache, const relpos_tensor* k,
                            const relpos_tensor* v, const relpos_rotation* rotation,
                            int64_t key_offset) {
  return chosen().append(cache, k, v, rotation, key_offset);
}

relpos_status relpos_truncate(const relpos_cache* cache, int64_t sequence, int64_t length) {
  return chosen().truncate(cache, sequence, length);
}

relpos_status relpos_make_rotation(const relpos_rotation_options* options,
                                   relpos_rotation** rotation) {
  return chosen().make_rotation(options, rotation);
}

void relpos_free_rotation(relpos_rotation* rotation) { chosen().free_rotation(rotation); }

void relpos_alibi_slopes(float* slopes, int64_t heads) { chosen().alibi_slopes(slopes, heads); }

int relpos_version(void) { return RELPOS_VERSION; }

const char* relpos_instruction_set(void) { return chosen().instruction_set; }

}  // extern "C"
