#pragma once
// Attention on a GPU over views; over Eigen tensors too with relpos/eigen/gpu.hpp.

#include "relpos/cuda/attention.hpp"
#include "relpos/policies.hpp"
