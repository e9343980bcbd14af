// expect: relpos cannot keep its promises under -ffast-math or -ffinite-math-only: build without it

// What -ffast-math defines.
#undef __FINITE_MATH_ONLY__
#define __FINITE_MATH_ONLY__ 1
#include <relpos/views.hpp>
