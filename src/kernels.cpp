// The library relpos::kernels: the kernels that most calls share, for the instruction set of this file's flags.

#include "relpos/kernel/common_kernels.hpp"

namespace relpos::inline RELPOS_ABI {

RELPOS_COMMON_KERNELS(, native)

}  // namespace relpos::inline RELPOS_ABI
