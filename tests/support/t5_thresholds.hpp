#pragma once
// T5's buckets as a table of thresholds: the first distance of each bucket that holds more than one
// distance, for several rules. Computed outside of this project with integers of any size, from
//
//   bucket >= E + j  exactly when  n^(NB - E) >= E^(NB - E - j) max_distance^j

#include <vector>

#include "relpos/core/index.hpp"

namespace support {

using relpos::index_t;

struct t5_thresholds {
  bool bidirectional;
  index_t num_buckets;
  index_t max_distance;
  std::vector<index_t> first_distance;  // of buckets E + 1, E + 2, ... of one direction

  index_t bucket(index_t distance) const {
    const index_t per_direction = bidirectional ? num_buckets / 2 : num_buckets;
    const index_t base = bidirectional && distance > 0 ? per_direction : 0;
    const index_t n = distance < 0 ? -distance : bidirectional ? distance : 0;
    if (n < per_direction / 2) return base + n;
    index_t result = base + per_direction / 2;
    for (const index_t first : first_distance) result += n >= first ? 1 : 0;
    return result;
  }
};

inline const t5_thresholds t5_encoder{true, 32, 128, {12, 16, 23, 32, 46, 64, 91}};
inline const t5_thresholds t5_decoder{
    false, 32, 128, {19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113}};
inline const t5_thresholds wavlm{
    true, 320, 800, {83,  85,  88,  90,  93,  96,  98,  101, 104, 107, 110, 114, 117, 120, 124, 127,
                     131, 135, 139, 143, 147, 151, 156, 160, 165, 170, 175, 180, 185, 190, 196, 201,
                     207, 213, 220, 226, 233, 239, 246, 253, 261, 268, 276, 284, 293, 301, 310, 319,
                     328, 338, 348, 358, 368, 379, 390, 401, 413, 425, 438, 450, 464, 477, 491, 505,
                     520, 535, 551, 567, 583, 600, 618, 636, 655, 674, 693, 714, 734, 756, 778}};

}  // namespace support
