#pragma once
// oneDNN: matmul, softmax, matmul, with the scores of a head as one matrix.

#include "peer.hpp"

namespace relpos::bench {

peer onednn();

}  // namespace relpos::bench
