#pragma once
// The parts of the benchmark. Each verifies its candidates, times them in turns, and reports.

#include <initializer_list>

#include "report.hpp"

namespace relpos::bench {

/// How long a run may take.
struct effort {
  int turns =
      20;  // of every candidate, which reports the 10th percentile of its times, of few the least
  bool quick = false;  // to verify: one turn of each, whose time means nothing
};

using section = void(const effort& how, report& to);

/// The fraction of the peak, causal and full, and what every encoding adds.
section encodings;
/// Far tiles left out, and blockwise causal attention at length 65536.
section long_sequences;
section two_threads;
/// One query against caches: kinds of storage, of cache, of heads, against the bandwidth of
/// reading.
section serving_caches;
/// A step of decoding through 40 layers: checking caches and finding rows.
section serving_layers;
/// Prefill in chunks, and ragged batches on two threads.
section serving_batches;
/// What users would otherwise pick, as it is installed here.
section against_peers;

/// A program of some of them: PROGRAM [--quick] [--json FILE] [--processor NAME] [--commit ID].
/// Returns its exit code.
int run_sections(int count, char** values, std::initializer_list<section*> sections);

}  // namespace relpos::bench
