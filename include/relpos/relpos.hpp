#pragma once
// All of relpos for the CPU.

#include "relpos/eigen/attention.hpp"
#include "relpos/views.hpp"
