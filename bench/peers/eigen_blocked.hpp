#pragma once
// Eigen, by blocks of query rows.

#include "peer.hpp"

namespace relpos::bench {

peer eigen_blocked();

}  // namespace relpos::bench
