#pragma once
// What a program that was compiled for several instruction sets calls: the functions of one set.

#include "relpos_c.h"

namespace relpos_c {

struct functions {
  const char* instruction_set;
  decltype(&relpos_workspace_bytes) workspace_bytes;
  decltype(&relpos_attention) attention;
  decltype(&relpos_append) append;
  decltype(&relpos_truncate) truncate;
  decltype(&relpos_make_rotation) make_rotation;
  decltype(&relpos_free_rotation) free_rotation;
  decltype(&relpos_alibi_slopes) alibi_slopes;
};

// The sets that instruction_set.cpp may be compiled for.
extern const functions baseline, avx2, avx512;

}  // namespace relpos_c
