// expect: relpos cannot keep its promises under -ffast-math or a part of it: build without

// What g++ defines for -ffast-math -fno-finite-math-only.
#undef __ASSOCIATIVE_MATH__
#define __ASSOCIATIVE_MATH__ 1
#include <relpos/views.hpp>
