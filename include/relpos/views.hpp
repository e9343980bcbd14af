#pragma once
// All of relpos over views: for callers without Eigen and without exceptions.

#include "relpos/alignment.hpp"
#include "relpos/attention.hpp"
#include "relpos/caches.hpp"
#include "relpos/policies.hpp"
