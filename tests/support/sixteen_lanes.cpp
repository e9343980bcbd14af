#include "support/sixteen_lanes.hpp"

#if !RELPOS_HAS_AVX512
namespace relpos::inline RELPOS_ABI {

RELPOS_SIXTEEN_LANES()

}  // namespace relpos::inline RELPOS_ABI
#endif
