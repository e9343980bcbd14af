// The masks' verdict on a tile, a strip and a key, against the visibility of every single pair.

#include "relpos/cpu/prefill/mask_stage.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "relpos/policies.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::group_rows;
using relpos::index_t;
using relpos::tile_class;

constexpr index_t width = relpos::geometry<relpos::native>::group_rows;
constexpr int vectors = relpos::native::tile_vectors;

template <class... Bound>
using stage_of = relpos::mask_stage<relpos::native, relpos::element_masks_of<std::tuple<Bound...>>>;

template <class... Bound>
stage_of<Bound...> make_stage(const std::tuple<Bound...>& bound, const group_rows& rows,
                              index_t key_length) {
  return {bound, relpos::element_masks(bound), rows, key_length};
}

using visibility = std::function<bool(index_t q_pos, index_t k_pos)>;

group_rows random_group(support::random_numbers& random, index_t origin) {
  return {.first_row = 0,
          .count = random.between(1, width),
          .q_pos = origin + random.between(-60, 260),
          .key_offset = origin + random.between(-5, 5)};
}

/// The class that the pairs of rows [first, last) of the keys and all of the group's queries have.
tile_class brute_force(const group_rows& rows, index_t first, index_t last,
                       const visibility& sees) {
  bool any = false;
  bool all = true;
  for (index_t lane = 0; lane < rows.count; ++lane) {
    for (index_t key = first; key < last; ++key) {
      const bool seen = sees(rows.q_pos + lane, key + rows.key_offset);
      any = any || seen;
      all = all && seen;
    }
  }
  return !any ? tile_class::skip : all ? tile_class::full : tile_class::partial;
}

/// `exact`: the class agrees with the pairs. Otherwise it may be partial where all pairs agree.
template <class... Bound>
void expect_classes(bool exact, const visibility& sees, const Bound&... bound) {
  support::random_numbers random(43);
  int seen[3] = {};
  for (const index_t origin : {index_t{0}, -(index_t{1} << 40), relpos::max_offset - 1000}) {
    for (int round = 0; round < 300; ++round) {
      const index_t key_length = random.between(1, 200);
      const group_rows rows = random_group(random, origin);
      const auto stage = make_stage(std::tuple(bound...), rows, key_length);
      index_t first = random.between(0, key_length - 1);
      const index_t last = random.between(first + 1, std::min(first + 64, key_length));
      const tile_class got = stage.classify(first, last);
      const tile_class pairs = brute_force(rows, first, last, sees);
      ++seen[static_cast<int>(got)];
      if (exact || got != tile_class::partial) {
        ASSERT_EQ(static_cast<int>(got), static_cast<int>(pairs));
      }

      for (; first < last; ++first) {
        const auto lanes = stage.template visible<vectors>(first);
        std::int32_t visible[width];
        for (int v = 0; v < vectors; ++v)
          lanes.lane[v].store(visible + v * relpos::lanes<relpos::native>);
        for (index_t lane = 0; lane < rows.count; ++lane) {
          ASSERT_EQ(visible[lane], sees(rows.q_pos + lane, first + rows.key_offset) ? -1 : 0);
        }
      }
    }
  }
  for (const int count : seen) EXPECT_GT(count, 0) << "a class that never came up";
}

TEST(mask_stage, causal) {
  expect_classes(true, [](index_t q, index_t k) { return k <= q; }, relpos::causal{});
}

TEST(mask_stage, band) {
  expect_classes(
      true, [](index_t q, index_t k) { return q - 70 <= k && k <= q + 5; }, relpos::band{70, 5});
}

TEST(mask_stage, ranges_that_overlap) {
  expect_classes(
      true, [](index_t q, index_t k) { return q - 70 <= k && k <= q; }, relpos::band{70, 5},
      relpos::full{}, relpos::causal{});
}

TEST(mask_stage, everything_is_full) {
  support::random_numbers random(47);
  for (int round = 0; round < 100; ++round) {
    const group_rows rows = random_group(random, 0);
    const auto stage = make_stage(std::tuple(relpos::full()), rows, 100);
    EXPECT_EQ(stage.classify(random.between(0, 50), random.between(51, 100)), tile_class::full);
  }
}

const std::vector<index_t> starts{-30, 0, 3, 3, 90, 200};

bool in_same_document(index_t q, index_t k) {
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    if (starts[i] <= q && q < starts[i + 1]) return starts[i] <= k && k < starts[i + 1];
  }
  return false;
}

index_t below_zero_too(index_t a, index_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

TEST(mask_stage, blocks) {
  expect_classes(
      true,
      [](index_t q, index_t k) {
        const index_t before = (below_zero_too(q, 32) - 1) * 32;
        return std::max<index_t>(before, 0) <= k && k <= q;
      },
      relpos::blockwise_causal{32});
  expect_classes(
      true, [](index_t q, index_t k) { return below_zero_too(k, 16) <= below_zero_too(q, 16); },
      relpos::block_lower{16});
  expect_classes(
      true,
      [](index_t q, index_t k) { return k <= q && below_zero_too(k, 32) == below_zero_too(q, 32); },
      relpos::chunked_causal{32});
  expect_classes(true, [](index_t q, index_t k) { return k <= q || k < 20; }, relpos::prefix{20});
}

TEST(mask_stage, sequences_within_rows) {
  const std::vector<index_t> counts{7, 40};
  expect_classes(
      true, [](index_t q, index_t k) { return q >= 40 && k >= 40; },
      relpos::left_padding{counts}.bind(1, 0));
  expect_classes(
      true,
      [](index_t q, index_t k) {
        if (!in_same_document(q, k) || k > q) return false;
        index_t start = starts[0];
        for (const index_t each : starts) start = each <= q ? each : start;
        return (k - start) / 16 + 1 >= (q - start) / 16;
      },
      relpos::documents{starts, relpos::blockwise_causal{16}});
}

TEST(mask_stage, padding_behind) {
  const std::vector<index_t> lengths{7, 40};
  expect_classes(
      true, [](index_t, index_t k) { return k < 40; }, relpos::right_padding{lengths}.bind(1, 0));
}

TEST(mask_stage, trees) {
  std::vector<index_t> parents;
  for (index_t node = 0; node < 150; ++node) parents.push_back(node % 7 == 0 ? -1 : (node - 1) / 2);
  expect_classes(
      false,
      [&](index_t q, index_t k) {
        if (k < 30) return true;
        index_t node = q - 30;
        if (node >= 150) return false;
        for (; node >= 0; node = parents[static_cast<std::size_t>(node)]) {
          if (node == k - 30) return true;
        }
        return false;
      },
      relpos::tree{parents, 30}.bind(0, 0));
}

TEST(mask_stage, combined) {
  const relpos::band band{40, 3};
  const auto in_band = [](index_t q, index_t k) { return q - 40 <= k && k <= q + 3; };
  expect_classes(
      false, [&](index_t q, index_t k) { return in_band(q, k) || k < 5; },
      relpos::either{band, relpos::sinks{5}});
  expect_classes(
      false, [&](index_t q, index_t k) { return k <= q && (in_band(q, k) || k < 5); },
      relpos::either{band, relpos::sinks{5}}, relpos::causal{});
  expect_classes(
      true, [&](index_t q, index_t k) { return k <= q && in_band(q, k); },
      relpos::both{relpos::causal{}, band});
  expect_classes(
      false,
      [&](index_t q, index_t k) { return (k <= q && in_same_document(q, k)) || in_band(q, k); },
      relpos::either{relpos::both{relpos::causal{}, relpos::documents{starts}}, band});
}

/// Blocks of 32 positions see each other; asked element by element.
struct same_block {
  bool keep(index_t q_pos, index_t k_pos) const {
    return relpos::floor_div(q_pos, 32) == relpos::floor_div(k_pos, 32);
  }
};
/// The same, and says so of whole tiles.
struct same_block_of_tiles : same_block {
  tile_class classify(const relpos::tile& of) const {
    const index_t first_q = relpos::floor_div(of.first_query, 32);
    const index_t last_q = relpos::floor_div(of.last_query - 1, 32);
    const index_t first_k = relpos::floor_div(of.first_key, 32);
    const index_t last_k = relpos::floor_div(of.last_key - 1, 32);
    if (last_k < first_q || last_q < first_k) return tile_class::skip;
    return first_q == last_k && last_q == first_k ? tile_class::full : tile_class::partial;
  }
};

bool in_same_block(index_t q, index_t k) {
  const auto block = [](index_t at) { return at >= 0 ? at / 32 : -((31 - at) / 32); };
  return block(q) == block(k);
}

TEST(mask_stage, elements_that_classify) {
  expect_classes(true, in_same_block, same_block_of_tiles{});
}

TEST(mask_stage, elements_and_ranges) {
  const auto sees = [](index_t q, index_t k) { return k <= q && in_same_block(q, k); };
  expect_classes(false, sees, relpos::causal{}, same_block_of_tiles{});
  expect_classes(false, sees, same_block_of_tiles{}, relpos::causal{}, same_block_of_tiles{});
}

TEST(mask_stage, elements_that_do_not_classify_are_partial) {
  support::random_numbers random(53);
  for (int round = 0; round < 100; ++round) {
    const group_rows rows = random_group(random, 0);
    const auto stage = make_stage(std::tuple(same_block()), rows, 100);
    const index_t key = random.between(0, 99);
    EXPECT_EQ(stage.classify(key, key + 1), tile_class::partial);
  }
}

}  // namespace
