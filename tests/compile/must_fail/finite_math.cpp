// expect: relpos needs infinities, NaN and the order of sums: build without -ffast-math and its parts

// -ffast-math defines it.
#undef __FINITE_MATH_ONLY__
#define __FINITE_MATH_ONLY__ 1
#include <relpos/views.hpp>
