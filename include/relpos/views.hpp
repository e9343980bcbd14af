#pragma once
// All of relpos over views: for callers without Eigen and without exceptions.

#include "relpos/align_temperatures.hpp"
#include "relpos/attention.hpp"
#include "relpos/caches.hpp"
#include "relpos/policies.hpp"
