// Ratios that hold beyond this machine and this minute: docs/benchmarks.md shows them. Every
// candidate is verified against the float64 reference before it is timed.

#include "sections.hpp"

int main(int count, char** values) {
  using namespace relpos::bench;
  return run_sections(
      count, values,
      {encodings, short_sequences, long_sequences, model_policies, bfloat16_products, two_threads,
       serving_caches, serving_layers, serving_batches, against_peers});
}
