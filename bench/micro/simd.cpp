// Vector functions, over arrays that stay in the first cache. Items are floats.

#include <algorithm>

#include "measure.hpp"
#include "relpos/simd/exp2.hpp"
#include "relpos/simd/pack.hpp"
#include "relpos/simd/tanh.hpp"
#include "relpos/simd/transpose.hpp"

namespace relpos::bench {
namespace {

using isa = native;
using real = float_pack<isa>;

constexpr index_t floats = 2048;

/// Loads packs of `from`, applies `f` and stores floats.
template <class T, class F>
void for_each_pack(benchmark::State& state, const std::vector<T>& from, const F& f) {
  static struct alignas(64) {
    T from[floats];
    float to[floats];
  } at;
  std::copy(from.begin(), from.end(), at.from);
  for (auto _ : state) {
    for (index_t i = 0; i < floats; i += lanes<isa>) f(real::load(at.from + i)).store(at.to + i);
    benchmark::DoNotOptimize(at.to);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * floats);
}

/// exp2 as softmax calls it: of scores minus a maximum.
void exp2_of_weights(benchmark::State& state) {
  const real maximum(5.0f);
  for_each_pack(state, normal_numbers(floats),
                [&](real each) { return exp2<isa>(each - maximum); });
}
BENCHMARK(exp2_of_weights);

void tanh_of_scores(benchmark::State& state) {
  for_each_pack(state, normal_numbers(floats), [](real each) { return tanh<isa>(each); });
}
BENCHMARK(tanh_of_scores);

template <class T>
void load_as_float(benchmark::State& state) {
  std::vector<T> x;
  for (const float each : normal_numbers(floats)) x.push_back(T(each));
  for_each_pack(state, x, [](real each) { return each; });
}
BENCHMARK_TEMPLATE(load_as_float, float);
BENCHMARK_TEMPLATE(load_as_float, bfloat16);
BENCHMARK_TEMPLATE(load_as_float, half);

/// Transposes squares of lanes<isa> rows.
void transpose_squares(benchmark::State& state) {
  constexpr index_t square = lanes<isa> * lanes<isa>;
  const std::vector<float> from = normal_numbers(floats / square * square);
  std::vector<float> to(from.size());
  for (auto _ : state) {
    for (std::size_t first = 0; first < from.size(); first += square) {
      real rows[lanes<isa>];
      for (int r = 0; r < lanes<isa>; ++r) {
        rows[r] = real::load(from.data() + first + r * lanes<isa>);
      }
      transpose<isa>(rows);
      for (int r = 0; r < lanes<isa>; ++r) rows[r].store(to.data() + first + r * lanes<isa>);
    }
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(from.size()));
}
BENCHMARK(transpose_squares);

}  // namespace
}  // namespace relpos::bench
