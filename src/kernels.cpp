// The library relpos::kernels: what most calls share, for the instruction set of this file's flags.

#include "relpos/cpu/common_calls.hpp"
#include "relpos/cpu/common_kernels.hpp"

static_assert(RELPOS_LINKS_KERNELS,
              "relpos: these flags are of another instruction set than the library promises");

namespace relpos::inline RELPOS_ABI {

RELPOS_COMMON_CALLS(, native)
RELPOS_COMMON_KERNELS(, native)

}  // namespace relpos::inline RELPOS_ABI
