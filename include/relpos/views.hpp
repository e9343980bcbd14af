#pragma once
// All of relpos over views: for callers without Eigen, without exceptions, without allocation.

#include "relpos/attention.hpp"
#include "relpos/policies.hpp"
