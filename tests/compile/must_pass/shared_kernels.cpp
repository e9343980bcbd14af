// Policies that bind to the types of cpu/common_kernels.hpp: with relpos::kernels their calls
// compile no kernel.
#include <type_traits>

#include "relpos/cpu/common_kernels.hpp"
#include "relpos/kv_cache/ring.hpp"
#include "relpos/policies.hpp"

using namespace relpos;

static_assert(std::is_same_v<bound_policy<alibi>, linear_bias>);
static_assert(std::is_same_v<bound_policy<additive_bias>, matrix_bias>);
static_assert(std::is_same_v<bound_policy<ring_mask>, sink_window>);
