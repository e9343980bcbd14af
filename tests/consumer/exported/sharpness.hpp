#pragma once
#include <relpos/eigen/view.hpp>
#include <relpos/policies.hpp>

/// The steepest of these slopes, which are a matrix [layer, head].
float steepest(const relpos::view<const float, 2>& slopes);
