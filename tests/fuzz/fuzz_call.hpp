#pragma once
// One call of attention over views, drawn from bytes.

#include "exact_memory.hpp"

namespace fuzzing {

/// How often a number of a call is an extreme one: never, or once in so many.
struct extremes {
  int once_in = 0;
};

/// Draws shapes, strides, types, policies, options and a workspace, and makes the call. A refused
/// call names a reason and writes nothing. An accepted one equals the float64 reference, and writes
/// nothing outside the elements of its outputs.
void fuzz_call(provider& bytes, extremes rate);

}  // namespace fuzzing
