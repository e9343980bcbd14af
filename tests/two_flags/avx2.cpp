#include "call.hpp"

two_flags_answer answer_with_avx2(const two_flags_call& call) {
  return answer_with_own_flags(call);
}
