#include "call.hpp"

two_flags_answer answer_with_avx512_bf16(const two_flags_call& call) {
  return answer_with_own_flags(call);
}
