#pragma once
// OpenBLAS for the products, Eigen for the softmax, by blocks of query rows.

#include "peer.hpp"

namespace relpos::bench {

peer openblas_blocked();

}  // namespace relpos::bench
