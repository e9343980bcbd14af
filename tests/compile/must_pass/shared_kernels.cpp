// Policies that bind to the types of cpu/common_kernels.hpp: with relpos::kernels their calls
// compile no kernel.
#include <type_traits>

#include "relpos/cpu/common_kernels.hpp"
#include "relpos/kv_cache/ring.hpp"
#include "relpos/policies.hpp"

using namespace relpos;

static_assert(std::is_same_v<head_policy_of<alibi>, linear_bias>);
static_assert(std::is_same_v<head_policy_of<additive_bias>, matrix_bias>);
static_assert(std::is_same_v<head_policy_of<ring_mask>, sink_window>);
