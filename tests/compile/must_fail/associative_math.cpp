// expect: relpos needs infinities, NaN and the order of sums: build without -ffast-math and its parts

// g++ defines it for -ffast-math -fno-finite-math-only.
#undef __ASSOCIATIVE_MATH__
#define __ASSOCIATIVE_MATH__ 1
#include <relpos/views.hpp>
