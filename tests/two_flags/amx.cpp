#include "call.hpp"

two_flags_answer answer_with_amx(const two_flags_call& call) { return answer_with_own_flags(call); }
