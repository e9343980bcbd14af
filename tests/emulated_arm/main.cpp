// The conversions of storage types on an emulated 64-bit Arm, whose modes of rounding and of
// flushing differ from x86.

#include <cstdio>

#include "support/conversions.hpp"

int main() {
  using relpos::bfloat16;
  using relpos::generic;
  using relpos::half;
  using relpos::int8;
  using relpos::native;
  using relpos::vector128;

  const std::string faults =
      support::faults_of_modes() +
      support::faults_of_widening<bfloat16, native, vector128, generic<4>, generic<16>>() +
      support::faults_of_widening<half, native, vector128, generic<4>, generic<16>>() +
      support::faults_of_widening<int8, native, vector128, generic<4>, generic<16>>() +
      support::faults_of_widening<relpos::float8_e4m3, native, vector128, generic<4>>() +
      support::faults_of_widening<relpos::float8_e5m2, native, vector128, generic<4>>() +
      support::faults_of_rounding<bfloat16>() + support::faults_of_rounding<half>() +
      support::faults_of_dividing<int8>() + support::faults_of_dividing<relpos::float8_e4m3>() +
      support::faults_of_quantising() + support::faults_of_scales();
  std::fputs(faults.c_str(), stderr);
  return faults.empty() ? 0 : 1;
}
