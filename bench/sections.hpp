#pragma once
// The parts of the benchmark. Each verifies its candidates, times them in turns, and reports.

#include <initializer_list>

#include "report.hpp"

namespace relpos::bench {

/// The duration of a run.
struct effort {
  int turns =
      20;  // of every candidate; it reports the 10th percentile of its times, the least of under 10
  bool quick = false;  // only to verify: one turn of each, the longest shorter; times mean nothing
};

using section = void(const effort& how, report& to);

/// The fraction of the peak, causal and full, and the time that every encoding adds.
section encodings;
/// Full attention over batches of short sequences, and over single ones of 1500 and 2040.
section short_sequences;
/// Far tiles left out, and blockwise causal attention at length 65536.
section long_sequences;
/// Mixed biases, forget gates, selected keys, channels that do not rotate.
section model_policies;
/// Tensors of bfloat16, multiplied as floats and as bfloat16 numbers.
section bfloat16_products;
section two_threads;
/// One query against caches, compared with the bandwidth of reading: storage types, kinds of cache,
/// query heads per key head.
section serving_caches;
/// A step of decoding through 40 layers: checking caches and finding rows.
section serving_layers;
/// Prefill in chunks, and ragged batches on two threads.
section serving_batches;
/// The libraries that users would otherwise pick, in their installed versions.
section against_peers;

/// Runs these sections as a program and returns its exit code. Its arguments are
///   [--quick] [--json FILE] [--processor NAME] [--commit ID]
int run_sections(int count, char** values, std::initializer_list<section*> sections);

}  // namespace relpos::bench
