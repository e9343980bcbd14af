#include "call.hpp"

two_flags_answer answer_with_avx_fma(const two_flags_call& call) {
  return answer_with_own_flags(call);
}
