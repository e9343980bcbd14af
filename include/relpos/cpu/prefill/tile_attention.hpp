#pragma once
// Attention of one query group over one key tile: scores with bias and mask, online softmax,
// weighted values. The inner loops are in micro_kernel.hpp.

#include <tuple>

#include "relpos/core/unroll.hpp"
#include "relpos/cpu/prefill/bias_stage.hpp"
#include "relpos/cpu/prefill/key_tile.hpp"
#include "relpos/cpu/prefill/mask_stage.hpp"
#include "relpos/cpu/prefill/matrix_product.hpp"
#include "relpos/cpu/prefill/micro_kernel.hpp"
#include "relpos/cpu/prefill/query_group.hpp"
#include "relpos/simd/exp2.hpp"
#include "relpos/stage/score.hpp"

namespace relpos::inline RELPOS_ABI {

/// Replaces the scores of operand `k`, in rows of `width` floats, by weights relative to `maximum`,
/// and adds these to `sum`. Weights that are rounded to pairs are added before: the sum is as exact
/// as with floats. A pair takes the place of row k. Calls weighed(score, weight) for each weight.
template <class Isa, class Operand, class Weighed>
RELPOS_INLINE void weigh(float* scores, index_t k, index_t width, float_pack<Isa> maximum,
                         float_pack<Isa>& sum, const Weighed& weighed) {
  using real = float_pack<Isa>;
  const auto weight_of = [&](index_t row) RELPOS_LAMBDA {
    const real score = real::load(scores + row * width);
    const real weight = exp2<Isa>(score - maximum);
    sum = sum + weight;
    weighed(score, weight);
    return weight;
  };
  if constexpr (is_pair<Operand>) {
    const real first = weight_of(2 * k);
    const real second = weight_of(2 * k + 1);
    pair_pack<Isa>::rounded(first, second)
        .store(reinterpret_cast<bfloat16_pair*>(scores + k * width));
  } else {
    weight_of(k).store(scores + k * width);
  }
}

/// Does the work of tile_attention::exponentiate, with the same bits, and adds the scores to the
/// statistics of the rows: replaces the scores of a tile, [key][lane], by weights relative to the
/// new `maximum`. `rescale` receives the factor by which the sums of earlier tiles are multiplied.
template <class Isa, class Operand, int Vectors>
RELPOS_NOINLINE void collect_statistics(const query_group<Isa>& group,
                                        const needed_keys<Vectors>& operands, float* weights,
                                        const float_pack<Isa> (&maximum)[Vectors],
                                        float_pack<Isa> (&rescale)[Vectors]) {
  using real = float_pack<Isa>;
  constexpr index_t width = Vectors * lanes<Isa>;
  for (int v = 0; v < Vectors; ++v) {
    const index_t lane = v * lanes<Isa>;
    const real old_maximum = real::load(group.maximum + lane);
    const real weight_sum = real::load(group.sum + lane);
    rescale[v] = exp2<Isa>(old_maximum - maximum[v]);
    if (operands.count[v] == 0) continue;
    statistics_lanes<Isa> statistics(group.statistics, lane, old_maximum, maximum[v], rescale[v],
                                     weight_sum, real::load(weights + lane));
    real sum(0.0f);
    for (index_t k = 0; k < operands.count[v]; ++k) {
      weigh<Isa, Operand>(weights + lane, k, width, maximum[v], sum,
                          [&](real score, real weight)
                              RELPOS_LAMBDA { statistics.add(score, maximum[v], weight); });
    }
    maximum[v].store(group.maximum + lane);
    fma(weight_sum, rescale[v], sum).store(group.sum + lane);
    statistics.store();
  }
}

/// The stages of one group, and its memory for the weights of a tile.
template <class Isa, int Vectors, class Operand, class BiasStages, class MaskStage>
struct tile_attention {
  using real = float_pack<Isa>;
  using tiles = geometry<Isa>;
  static constexpr index_t width = Vectors * lanes<Isa>;
  static constexpr int numbers = numbers_of<Operand>;
  using tile_type = key_tile<Isa, Operand>;
  using unit_type = typename product_unit<Isa, Operand>::type;
  static constexpr bool has_unit = in_matrices<Isa, Operand>;
  // The keys that masks classify and whose products are computed together: a strip, or a panel.
  static constexpr int step = has_unit ? tile_type::places : Isa::tile_rows;

  const query_group<Isa>& group;
  const BiasStages& biases;  // a tuple, in argument order; then cap, row factors
  const MaskStage& masks;
  index_t head_dim;
  index_t value_dim;
  float softcap;   // factor of tanh in units of the exponent, 0 for none
  float* weights;  // [tile_keys][width]
  bool collects;   // statistics
  unit_type& unit;

  /// The places of a tile that the group computes: the strips that are not skipped, packed one
  /// after another.
  struct live_keys {
    index_t count = 0;
    needed_keys<Vectors> needed = {};  // operands
    bool any_partial = false;
    const Operand* values[tiles::tile_keys / tile_type::places];
  };

  /// Returns false if no query saw a key of the tile.
  RELPOS_NOINLINE bool run(tile_type& tile, tile_class tile_is) const {
    real maximum[Vectors];
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) maximum[v] = real::load(group.maximum + v * lanes<Isa>);

    live_keys live;
    constexpr int rows = Isa::tile_rows;
    static_assert(rows % numbers == 0 && step % rows == 0);
    const bool classifies = tile_is == tile_class::partial || tile.has_gaps();
    for (index_t first = 0; first < tile.count; first += step) {
      const index_t count = std::min<index_t>(step, tile.count - first);
      tile_class strip_is = tile_is;
      if (classifies) {
        const key_range range = tile.rows_of(first, count);
        strip_is = masks.classify(range.first, range.last);
        if (strip_is == tile_class::skip) continue;
        if (range.last - range.first != count) strip_is = tile_class::partial;
      }
      const bool partial = strip_is == tile_class::partial;
      if constexpr (has_unit) {
        score_panel(tile, first, partial, live, maximum);
      } else {
        tile.fetch_next();
        if (count == rows) {
          score_strip<rows>(tile, first, partial, live, maximum);
        } else {
          for (index_t k = first; k < first + count; k += numbers)
            score_strip<numbers>(tile, k, partial, live, maximum);
        }
      }
    }
    if (live.count == 0) return false;

    real rescale[Vectors];
    if (collects) {
      collect_statistics<Isa, Operand, Vectors>(group, live.needed, weights, maximum, rescale);
    } else {
      exponentiate(live.needed, maximum, rescale);
    }
    const auto* const operands = reinterpret_cast<const Operand*>(weights);
    const bool guarded =
        live.any_partial && !all_finite<Isa>(live.values, live.count / tile_type::places,
                                             tile_type::operands_of_values(value_dim));
    if constexpr (has_unit) {
      accumulate_panels<Isa, Vectors>(unit, live.values, operands, live.needed, value_dim, rescale,
                                      !group.has_outputs, guarded, group.outputs);
    } else if (guarded) {
      accumulate_values<Isa, Vectors, true>(live.values, operands, live.needed, value_dim, rescale,
                                            !group.has_outputs, group.outputs);
    } else {
      accumulate_values<Isa, Vectors, false>(live.values, operands, live.needed, value_dim, rescale,
                                             !group.has_outputs, group.outputs);
    }
    return true;
  }

 private:
  /// Computes the scores of a strip of `Rows` keys and adds it to the live keys.
  template <int Rows>
  RELPOS_INLINE void score_strip(const tile_type& tile, index_t first, bool partial,
                                 live_keys& live, real (&maximum)[Vectors]) const {
    const int blind = blind_vectors(tile, first, partial);
    score_keys<Rows>(tile, first, partial, blind, weights + live.count * width, maximum);
    live.any_partial |= partial;
    add_live<Rows>(tile, first, blind, live);
  }

  /// The same for a panel, whose products the matrix unit computes.
  void score_panel(tile_type& tile, index_t first, bool partial, live_keys& live,
                   real (&maximum)[Vectors]) const {
    const int blind = blind_vectors(tile, first, partial);
    float* const out = weights + live.count * width;
    unroll<Vectors>([&](auto skipped) RELPOS_LAMBDA {
      if (blind == skipped) {
        multiply_panel<Isa, skipped, Vectors>(unit, tile.keys[first], group.rounded,
                                              padded_pairs<Isa>(head_dim), out);
      }
    });
    constexpr int rows = Isa::tile_rows;
    for (index_t r = 0; r < step; r += rows) {
      tile.fetch_next();
      score_keys<rows>(tile, first + r, partial, blind, out + r * width, maximum);
    }
    live.any_partial |= partial;
    add_live<step>(tile, first, blind, live);
  }

  RELPOS_INLINE int blind_vectors(const tile_type& tile, index_t first, bool partial) const {
    return partial ? masks.template blind_vectors<Vectors>(tile.first_row + first) : 0;
  }

  template <int Rows>
  RELPOS_INLINE void add_live(const tile_type& tile, index_t first, int blind,
                              live_keys& live) const {
    constexpr int places = tile_type::places;
    for (int r = 0; r < Rows; r += places) {
      live.values[(live.count + r) / places] = tile.values[(first + r) / places];
    }
    live.count += Rows;
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      if (v >= blind) live.needed.count[v] = live.count / numbers;
    }
  }

  /// Computes the scores of `Rows` keys. Product, bias and running maximum stay in registers; with
  /// a softcap or a partial mask, the stages after the product run key by key. `out` already holds
  /// the products of a matrix unit.
  template <int Rows>
  RELPOS_INLINE void score_keys(const tile_type& tile, index_t first, bool partial, int blind,
                                float* out, real (&maximum)[Vectors]) const {
    if (softcap == 0.0f && !partial) {
      auto scores = products<Rows, 0>(tile.keys + first, out);
      add_to_strip(tile.first_row + first, scores.vectors);
      RELPOS_UNROLL
      for (int r = 0; r < Rows; ++r) {
        if constexpr (!has_strip_stage) add_biases(tile.first_row + first + r, scores.vectors[r]);
        raise(maximum, scores.vectors[r]);
        store(scores.vectors[r], out + r * width);
      }
    } else {
      unroll<Vectors>([&](auto skipped) RELPOS_LAMBDA {
        if (blind == skipped) store_products<Rows, skipped>(tile.keys + first, out);
      });
      if (softcap != 0.0f) cap_scores<Isa, Rows, Vectors>(softcap, blind, out);
      if (partial) {
        for (index_t r = 0; r < Rows; ++r) {
          const index_t row = tile.first_row + first + r;
          if (is_pair<Operand> && (row < tile.rows.first || row >= tile.rows.last)) {
            std::fill(out + r * width, out + (r + 1) * width, hidden_score);
          } else {
            finish_scores<true>(row, blind, out + r * width, maximum);
          }
        }
      } else {
        for (index_t r = 0; r < Rows; ++r) {
          finish_scores<false>(tile.first_row + first + r, 0, out + r * width, maximum);
        }
      }
    }
  }

  /// The products of the vectors after the first `Skipped`, in units of the exponent. A matrix unit
  /// has stored them in `out`.
  template <int Rows, int Skipped>
  RELPOS_INLINE register_tile<Isa, Rows, Vectors - Skipped> products(
      const Operand* const* keys, [[maybe_unused]] const float* out) const {
    constexpr int used = Vectors - Skipped;
    register_tile<Isa, Rows, used> scores;
    if constexpr (has_unit) {
      RELPOS_UNROLL
      for (int r = 0; r < Rows; ++r) {
        RELPOS_UNROLL
        for (int v = 0; v < used; ++v) {
          scores.vectors[r][v] = real::load(out + r * width + (v + Skipped) * lanes<Isa>);
        }
      }
    } else {
      scores = score_product<Isa, Rows, used>(
          keys, group.template operands<Operand>() + Skipped * lanes<Isa>, width,
          ceil_div(head_dim, index_t{numbers}));
    }
    if constexpr (is_pair<Operand>) {
      const real factor(group.score_factor);
      RELPOS_UNROLL
      for (int r = 0; r < Rows; ++r) {
        RELPOS_UNROLL
        for (int v = 0; v < used; ++v) scores.vectors[r][v] = scores.vectors[r][v] * factor;
      }
    }
    return scores;
  }

  template <int Rows, int Skipped>
  RELPOS_INLINE void store_products(const Operand* const* keys, float* out) const {
    const auto scores = products<Rows, Skipped>(keys, out);
    RELPOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      RELPOS_UNROLL
      for (int v = 0; v < Vectors - Skipped; ++v) {
        scores.vectors[r][v].store(out + r * width + (v + Skipped) * lanes<Isa>);
      }
    }
  }

  /// Runs the stages after the product for the scores of one key, in memory, where the scores of
  /// the first `blind` vectors are missing. `Partial`: some queries do not see the key.
  template <bool Partial>
  RELPOS_INLINE void finish_scores(index_t key_row, int blind, float* scores,
                                   real (&maximum)[Vectors]) const {
    real score[Vectors];
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      score[v] = Partial && v < blind ? real(0.0f) : real::load(scores + v * lanes<Isa>);
    }
    add_biases(key_row, score);
    if constexpr (Partial) hide(key_row, score);
    raise(maximum, score);
    store(score, scores);
  }

  static RELPOS_INLINE void raise(real (&maximum)[Vectors], const real (&score)[Vectors]) {
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) maximum[v] = max(score[v], maximum[v]);
  }
  static RELPOS_INLINE void store(const real (&score)[Vectors], float* out) {
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) score[v].store(out + v * lanes<Isa>);
  }

  static constexpr bool has_strip_stage = []<class... Stages>(std::tuple<Stages...>*) {
    return (adds_to_strips<Stages, real> || ... || false);
  }(static_cast<std::remove_const_t<BiasStages>*>(nullptr));

  /// Runs all stages for the keys of a strip, one stage after the other, if one of them adds to
  /// several keys at once; otherwise does nothing.
  template <int Rows>
  RELPOS_INLINE void add_to_strip([[maybe_unused]] index_t first_row,
                                  [[maybe_unused]] real (&scores)[Rows][Vectors]) const {
    [[maybe_unused]] const auto add = [&]<class Stage>(const Stage& stage) RELPOS_LAMBDA {
      if constexpr (adds_to_strips<Stage, real>) {
        stage.add_to_strip(first_row, scores);
      } else {
        RELPOS_UNROLL
        for (int r = 0; r < Rows; ++r) {
          const auto bias = stage.key(first_row + r);
          RELPOS_UNROLL
          for (int v = 0; v < Vectors; ++v) scores[r][v] = bias.apply(v, scores[r][v]);
        }
      }
    };
    if constexpr (has_strip_stage) {
      std::apply([&](const auto&... stage) RELPOS_LAMBDA { (add(stage), ...); }, biases);
    }
  }

  RELPOS_INLINE void add_biases(index_t key_row, real (&score)[Vectors]) const {
    std::apply(
        [&](const auto&... stage) RELPOS_LAMBDA {
          (
              [&]() RELPOS_LAMBDA {
                const auto bias = stage.key(key_row);
                RELPOS_UNROLL
                for (int v = 0; v < Vectors; ++v) score[v] = bias.apply(v, score[v]);
              }(),
              ...);
        },
        biases);
  }

  RELPOS_INLINE void hide(index_t key_row, real (&score)[Vectors]) const {
    const auto visible = masks.template visible<Vectors>(key_row);
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      score[v] = hidden_unless(visible.lane[v], score[v]);
    }
  }

  /// Replaces scores by weights relative to the new maximum. `rescale` receives the factor of the
  /// earlier sums.
  RELPOS_INLINE void exponentiate(const needed_keys<Vectors>& operands,
                                  const real (&maximum)[Vectors], real (&rescale)[Vectors]) const {
    real sum[Vectors];
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const index_t lane = v * lanes<Isa>;
      rescale[v] = exp2<Isa>(real::load(group.maximum + lane) - maximum[v]);
      maximum[v].store(group.maximum + lane);
      sum[v] = real(0.0f);
    }
    operands.for_each([&](index_t k, auto skipped) RELPOS_LAMBDA {
      RELPOS_UNROLL
      for (int v = skipped; v < Vectors; ++v) {
        weigh<Isa, Operand>(weights + v * lanes<Isa>, k, width, maximum[v], sum[v],
                            [](real, real) RELPOS_LAMBDA {});
      }
    });
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const index_t lane = v * lanes<Isa>;
      fma(real::load(group.sum + lane), rescale[v], sum[v]).store(group.sum + lane);
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI
