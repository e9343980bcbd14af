// expect: relpos cannot keep its promises under -ffast-math or a part of it: build without

// What -ffast-math defines.
#undef __FINITE_MATH_ONLY__
#define __FINITE_MATH_ONLY__ 1
#include <relpos/views.hpp>
