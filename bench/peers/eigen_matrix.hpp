#pragma once
// Eigen: the scores of a head as one matrix, half of which the mask discards.

#include "peer.hpp"

namespace relpos::bench {

peer eigen_matrix();

}  // namespace relpos::bench
