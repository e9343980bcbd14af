#pragma once
// The running state of one query group: its packed queries and the online softmax of each, one
// query per lane (Milakov and Gimelshein, arXiv 1805.02867; Dao, arXiv 2307.08691).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "relpos/core/view.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cpu/lowered_head.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/cpu/prefill/group_statistics.hpp"
#include "relpos/cpu/prefill/operand.hpp"
#include "relpos/rows/rotation.hpp"
#include "relpos/simd/exp2.hpp"
#include "relpos/simd/transpose.hpp"
#include "relpos/stage/softmax.hpp"
#include "relpos/stage/statistics.hpp"

namespace relpos::inline RELPOS_ABI {

/// The state of a group, as pointers into a worker's workspace, with `width` floats per row: the
/// lanes that the group uses.
template <class Isa>
struct query_group {
  index_t width = 0;
  index_t rows = 0;          // queries that exist; nothing reads the results of the other lanes
  float* packed = nullptr;   // [head_dim][width], times the folded scale
  float* queries = nullptr;  // read by the product: `packed` rotated, or `packed` itself
  bfloat16_pair* rounded = nullptr;  // [pairs of channels][width], `queries` in pairs; or null
  float* outputs = nullptr;          // [value_dim][width], sum of weight * value, if has_outputs
  float* maximum = nullptr;          // [width], running maximum of the exponents, base 2
  float* sum = nullptr;              // [width], sum of weights relative to it
  float* norm = nullptr;  // [width], Euclidean norm of `queries` times the factor of scores
  group_statistics statistics{};
  index_t key_block = 0;      // the block that the queries are rotated to
  float score_factor = 1.0f;  // multiplies the products of pairs
  bool measured = false;      // `norm` belongs to the current `queries`
  bool are_rounded = false;   // `rounded` belongs to them
  bool has_outputs = false;   // else all are zero, and their memory is not written yet

  /// Takes the memory of a group. `rotates`: the queries are rotated between the blocks of a
  /// rotation. `in_pairs`: the products are of pairs.
  static query_group take(arena& memory, const attention_shape& shape, bool rotates,
                          bool in_pairs) {
    constexpr index_t width = geometry<Isa>::group_rows;
    query_group group;
    group.packed = memory.take<float>(shape.head_dim * width);
    group.queries = rotates ? memory.take<float>(shape.head_dim * width) : group.packed;
    const index_t pairs_of_row = in_pairs ? padded_pairs<Isa>(shape.head_dim) : 0;
    group.rounded = memory.take<bfloat16_pair>(pairs_of_row * width);
    group.outputs = memory.take<float>(shape.value_dim * width);
    group.maximum = memory.take<float>(width);
    group.sum = memory.take<float>(width);
    group.norm = memory.take<float>(width);
    group.statistics = group_statistics::take(memory, width);
    return group;
  }

  /// Packs `count` query rows and resets the softmax. `factor` multiplies the queries; if `Operand`
  /// is a pair, whose rounding it would disturb, their products.
  template <class Operand>
  void start(const float* const* row, index_t count, float factor, index_t channels) {
    width = ceil_div(count, lanes<Isa>) * lanes<Isa>;
    rows = count;
    const float query_factor = is_pair<Operand> ? 1.0f : factor;
    score_factor = is_pair<Operand> ? factor : 1.0f;
    for (index_t lane = 0; lane < width; lane += lanes<Isa>) {
      pack_vector(row + lane, count - lane, query_factor, channels, packed + lane);
    }
    key_block = not_rotated;
    measured = false;
    are_rounded = false;
    has_outputs = false;
    for (index_t lane = 0; lane < width; ++lane) {
      // A lane without a query must not keep a tile from being skipped: no score is above its
      // maximum.
      maximum[lane] = lane < count ? no_maximum : -no_maximum;
      sum[lane] = 0.0f;
    }
  }

  /// Rotates the queries from their blocks to the block of a tile of keys. The first query is at
  /// `q_pos`.
  void rotate(const block_rotors& rotors, index_t q_pos, index_t target_block, index_t channels) {
    using real = float_pack<Isa>;
    if (key_block == target_block) return;
    key_block = target_block;
    measured = false;
    are_rounded = false;
    // A group is narrower than a block: its queries lie in one, or in two.
    const index_t block = rotation_rows::block_of(q_pos);
    const int_pack<Isa> first_count(
        static_cast<std::int32_t>((block + 1) * rotation_block - q_pos));
    const float* const first = rotors.between(block, target_block);
    const float* const second = rotors.between(block + 1, target_block);
    const rotated_channels& rotating = rotors.channels;
    const index_t pairs = rotating.pairs;
    for (index_t lane = 0; lane < width; lane += lanes<Isa>) {
      const auto is_first =
          int_pack<Isa>::iota() + int_pack<Isa>(static_cast<std::int32_t>(lane)) < first_count;
      for (index_t i = 0; i < pairs; ++i) {
        const channel_pair<real> rotation{
            select(is_first, real(first[i]), real(second[i])),
            select(is_first, real(first[pairs + i]), real(second[pairs + i]))};
        const index_t offset_a = (rotating.first + i) * width + lane;
        const index_t offset_b = offset_a + pairs * width;
        const auto rotated =
            channel_pair<real>{real::load(packed + offset_a), real::load(packed + offset_b)} *
            rotation;
        rotated.a.store(queries + offset_a);
        rotated.b.store(queries + offset_b);
      }
    }
    std::copy(packed, packed + rotating.first * width, queries);
    std::copy(packed + rotating.end() * width, packed + channels * width,
              queries + rotating.end() * width);
  }

  /// Rounds the queries in their current rotation, if the operands are pairs.
  template <class Operand>
  void round(index_t channels) {
    if constexpr (is_pair<Operand>) {
      using real = float_pack<Isa>;
      if (are_rounded) return;
      are_rounded = true;
      for (index_t c = 0; c < channels; c += 2) {
        const float* const first = queries + c * width;
        for (index_t lane = 0; lane < width; lane += lanes<Isa>) {
          const real second = c + 1 < channels ? real::load(first + width + lane) : real(0.0f);
          pair_pack<Isa>::rounded(real::load(first + lane), second)
              .store(rounded + c / 2 * width + lane);
        }
      }
      std::fill(rounded + ceil_div(channels, 2) * width,
                rounded + padded_pairs<Isa>(channels) * width, bfloat16_pair());
    }
  }

  /// The queries as the score product reads them.
  template <class Operand>
  const Operand* operands() const {
    if constexpr (is_pair<Operand>) {
      return rounded;
    } else {
      return queries;
    }
  }

  /// Computes `norm` of the queries in their current rotation. `slack`: the largest factor by which
  /// rounded operands may increase a product of norms.
  void measure_norms(index_t channels, float slack) {
    using real = float_pack<Isa>;
    if (measured) return;
    measured = true;
    for (index_t lane = 0; lane < width; lane += lanes<Isa>) {
      real square(0.0f);
      for (index_t c = 0; c < channels; ++c) {
        const real x = real::load(queries + c * width + lane);
        square = fma(x, x, square);
      }
      square.store(norm + lane);
    }
    const float factor = slack * std::abs(score_factor);
    for (index_t lane = 0; lane < width; ++lane) norm[lane] = factor * std::sqrt(norm[lane]);
  }

  /// Writes out, lse and statistics (stage/softmax.hpp). `first` is the row of lane 0.
  void finish(const lowered_head<Isa>& key_head, index_t head, index_t first) {
    using real = float_pack<Isa>;
    const index_t value_dim = key_head.shape.value_dim;
    if (!has_outputs) std::fill(outputs, outputs + value_dim * width, 0.0f);
    const auto power = [](real x) RELPOS_LAMBDA { return exp2<Isa>(x); };
    for (index_t vector = 0; vector < rows; vector += lanes<Isa>) {
      const index_t count = std::min<index_t>(rows - vector, lanes<Isa>);
      float sinks[lanes<Isa>] = {};
      key_head.find_sinks(head, first + vector, count, sinks);
      const finished_row<real> finished = finish_row(power, real::load(maximum + vector),
                                                     real::load(sum + vector), real::load(sinks));
      write_vector(key_head.out, value_dim, head, first + vector, count, vector, finished.factor);
      if (key_head.lse.data != nullptr) {
        write_lse(key_head.lse, head, first + vector, count, finished);
      }
      if (!key_head.statistics.any()) continue;
      float factors[lanes<Isa>];
      finished.factor.store(factors);
      for (index_t i = 0; i < count; ++i) {
        write_statistics(key_head.statistics, head, first + vector + i, vector + i, factors[i]);
      }
    }
  }

 private:
  /// Packs the first `count` rows into the lanes of one vector, at most `lanes` of them.
  void pack_vector(const float* const* source, index_t count, float factor, index_t channels,
                   float* out) const {
    using real = float_pack<Isa>;
    constexpr int n = lanes<Isa>;
    const float* row[n];
    // Lanes without a query repeat the last row.
    for (index_t i = 0; i < n; ++i) row[i] = source[std::min(i, count - 1)];
    const index_t stride = width;  // a copy: stores to floats might change the member
    index_t c = 0;
    for (; c + n <= channels; c += n) {
      real block[n];
      RELPOS_UNROLL
      for (int i = 0; i < n; ++i) block[i] = real::load(row[i] + c) * real(factor);
      transpose<Isa>(block);
      RELPOS_UNROLL
      for (int i = 0; i < n; ++i) {
        block[i].store(out);
        out += stride;
      }
    }
    for (; c < channels; ++c) {
      for (int i = 0; i < n; ++i) out[i] = row[i][c] * factor;
      out += stride;
    }
  }

  /// Writes the lse of `count` rows from `row` on.
  static void write_lse(const view<float, 3>& lse, index_t head, index_t row, index_t count,
                        const finished_row<float_pack<Isa>>& finished) {
    float top[lanes<Isa>];
    float total[lanes<Isa>];
    finished.top.store(top);
    finished.total.store(total);
    for (index_t i = 0; i < count; ++i) lse(0, head, row + i) = lse_of(top[i], total[i]);
  }

  /// Writes the outputs of `count` lanes from `vector` on, to rows of `out` from `row` on.
  void write_vector(const output_rows& out, index_t channels, index_t head, index_t row,
                    index_t count, index_t vector, float_pack<Isa> factor) const {
    using real = float_pack<Isa>;
    constexpr int n = lanes<Isa>;
    const float* source = outputs + vector;
    const index_t stride = width;  // as in pack_vector
    float* out_row[n] = {};
    for (index_t i = 0; i < count; ++i) out_row[i] = out.in_place(head, row + i);
    index_t c = 0;
    for (; c + n <= channels; c += n) {
      real block[n];
      RELPOS_UNROLL
      for (int i = 0; i < n; ++i) {
        block[i] = real::load(source) * factor;
        source += stride;
      }
      transpose<Isa>(block);
      if (out_row[0] != nullptr) {
        RELPOS_UNROLL
        for (int i = 0; i < n; ++i) {
          if (i < count) block[i].store(out_row[i] + c);
        }
        continue;
      }
      float values[n][n];
      RELPOS_UNROLL
      for (int i = 0; i < n; ++i) block[i].store(values[i]);
      for (index_t i = 0; i < count; ++i) out.write(head, row + i, c, n, values[i]);
    }
    for (; c < channels; ++c) {
      float values[n];
      (real::load(source) * factor).store(values);
      source += stride;
      for (index_t i = 0; i < count; ++i) out.write(head, row + i, c, 1, values + i);
    }
  }

  /// A weight times `factor` is a probability.
  void write_statistics(const row_statistics& out, index_t head, index_t row, index_t lane,
                        float factor) const {
    const auto write = [&](const std::optional<view<float, 3>>& statistic, float value) {
      if (statistic) (*statistic)(0, head, row) = value;
    };
    const logit_moments<float> moments(statistics.count[lane], statistics.mean[lane],
                                       statistics.squares[lane]);
    const finished_statistics finished =
        finish_statistics(statistics.spread[lane], moments, sum[lane], factor);
    write(out.max_probability, finished.max_probability);
    write(out.entropy, finished.entropy);
    write(out.logit_count, finished.logit_count);
    write(out.logit_mean, finished.logit_mean);
    write(out.logit_variance, finished.logit_variance);
  }
};

}  // namespace relpos::inline RELPOS_ABI
