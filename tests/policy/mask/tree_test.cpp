#include "relpos/policy/mask/tree.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "policy/mask/expect_visible.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::index_t;

std::vector<index_t> random_tree(std::size_t nodes, std::uint32_t seed) {
  support::random_numbers random(seed);
  std::vector<index_t> parents;
  for (std::size_t node = 0; node < nodes; ++node) {
    parents.push_back(random.between(-1, static_cast<index_t>(node) - 1));
  }
  return parents;
}

/// A node's ancestors and itself.
std::set<index_t> branch(const std::vector<index_t>& parents, index_t node) {
  std::set<index_t> result;
  for (; node >= 0; node = parents[static_cast<std::size_t>(node)]) result.insert(node);
  return result;
}

TEST(tree, sees_what_comes_before_it_and_its_branch) {
  struct place {
    std::size_t nodes;
    index_t first;
  };
  for (const place& at : {place{60, 64}, {200, 90}, {1, 0}, {150, -10}, {64, 128}}) {
    const std::size_t nodes = at.nodes;  // clang captures no structured binding
    const index_t first = at.first;
    SCOPED_TRACE(std::to_string(nodes) + " nodes from " + std::to_string(first));
    const std::vector<index_t> parents = random_tree(nodes, 5);
    const auto sees = [&](index_t, index_t q_pos, index_t k_pos) {
      if (k_pos < first) return true;
      const index_t node = q_pos - first;
      if (node < 0 || node >= static_cast<index_t>(nodes)) return false;
      return branch(parents, node).contains(k_pos - first);
    };
    support::expect_visible(sees, relpos::tree{parents, first});
    support::expect_visible(
        [&](index_t head, index_t q_pos, index_t k_pos) {
          return k_pos <= q_pos && sees(head, q_pos, k_pos);
        },
        relpos::tree{parents, first}, relpos::causal{});
  }
}

TEST(tree, classifies_as_brute_force_does) {
  const index_t first = 40;
  const std::vector<index_t> parents = random_tree(70, 6);
  const auto mask = relpos::tree{parents, first}.bind(0, 0);
  support::random_numbers random(7);
  int skipped = 0;
  int full = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto below = [&](index_t bound) { return random.between(0, bound - 1); };
    relpos::tile tile{below(120), 0, below(120), 0};
    tile.last_query = tile.first_query + 1 + below(20);
    tile.last_key = tile.first_key + 1 + below(20);
    bool some = false;
    bool all = true;
    for (index_t q_pos = tile.first_query; q_pos < tile.last_query; ++q_pos) {
      for (index_t k_pos = tile.first_key; k_pos < tile.last_key; ++k_pos) {
        some = some || mask.keep(q_pos, k_pos);
        all = all && mask.keep(q_pos, k_pos);
      }
    }
    const relpos::tile_class is = mask.classify(tile);
    EXPECT_FALSE(is == relpos::tile_class::skip && some);
    EXPECT_FALSE(is == relpos::tile_class::full && !all);
    skipped += is == relpos::tile_class::skip ? 1 : 0;
    full += is == relpos::tile_class::full ? 1 : 0;
  }
  EXPECT_GT(skipped, 100);
  EXPECT_GT(full, 100);
}

// The purpose of a tree: each branch gives the results of decoding it alone.
TEST(tree, branches_give_what_they_give_alone) {
  const index_t cached = 100;
  const std::vector<index_t> parents{-1, 0, 0, 1, 3, 2, -1, 6};
  const std::vector<std::vector<index_t>> branches{{0, 1, 3, 4}, {0, 2, 5}, {6, 7}};
  const auto in = support::random_inputs({.batch = 1,
                                          .query_heads = 2,
                                          .key_heads = 2,
                                          .query_length = 8,
                                          .key_length = cached + 8,
                                          .head_dim = 16,
                                          .value_dim = 4},
                                         91);
  const std::vector<index_t> nodes = relpos::tree_positions(parents, cached);
  std::vector<index_t> all;
  for (index_t row = 0; row < cached; ++row) all.push_back(row);
  all.insert(all.end(), nodes.begin(), nodes.end());
  const relpos::rotary_table rope(relpos::rope_frequencies(16), relpos::pair_layout::half_split);
  const std::vector<float> slopes{0.2f, 0.01f};
  const auto together =
      attend(in, {}, relpos::rotary{rope}, relpos::alibi{slopes}, relpos::tree{parents, cached},
             relpos::token_positions{relpos::view<const index_t, 2>(nodes.data(), {1, 8}),
                                     relpos::view<const index_t, 2>(all.data(), {1, cached + 8})});

  for (const std::vector<index_t>& rows : branches) {
    const auto length = static_cast<index_t>(rows.size());
    support::inputs<float> alone{support::tensor<float>({1, 2, length, 16}),
                                 support::tensor<float>({1, 2, cached + length, 16}),
                                 support::tensor<float>({1, 2, cached + length, 4})};
    const auto copy = [&](const support::tensor<float>& from, support::tensor<float>& to,
                          index_t before) {
      for (index_t head = 0; head < 2; ++head) {
        for (index_t row = 0; row < to.shape[2]; ++row) {
          const index_t at =
              row < before ? row : before + rows[static_cast<std::size_t>(row - before)];
          for (index_t c = 0; c < to.shape[3]; ++c)
            to.view()(0, head, row, c) = from(0, head, at, c);
        }
      }
    };
    copy(in.q, alone.q, 0);
    copy(in.k, alone.k, cached);
    copy(in.v, alone.v, cached);
    const auto naive = naive_attention<float>(
        alone, {.bias =
                    [&](index_t head, index_t distance) {
                      return static_cast<double>(slopes[static_cast<std::size_t>(head)]) *
                             static_cast<double>(distance);
                    },
                .visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; },
                .rotation = support::rotary_meaning{.rotary_dim = 16, .theta = [](index_t i) {
                                                      return std::pow(
                                                          10000.0, -static_cast<double>(i) / 8.0);
                                                    }}});
    for (index_t head = 0; head < 2; ++head) {
      for (index_t row = 0; row < length; ++row) {
        for (index_t c = 0; c < 4; ++c) {
          EXPECT_NEAR(together.out(0, head, rows[static_cast<std::size_t>(row)], c),
                      naive.out[static_cast<std::size_t>((head * length + row) * 4 + c)], 3e-6f);
        }
      }
    }
  }
}

TEST(tree, positions_count_generations) {
  EXPECT_EQ(relpos::tree_positions(std::vector<index_t>{-1, 0, 0, 1, -1}, 7),
            (std::vector<index_t>{7, 8, 8, 9, 7}));
  EXPECT_TRUE(relpos::tree_positions(std::vector<index_t>{-1, 1}, 7).empty());
  EXPECT_TRUE(relpos::tree_positions(std::vector<index_t>{-2}, 7).empty());
}

TEST(tree, parents_come_before_their_children) {
  const std::vector<index_t> forward{-1, 0, 3, 0};
  EXPECT_STREQ((relpos::tree{forward, 0}.check({}).message),
               "tree: node 2 has parent 3, must be a node before it or -1");
  const std::vector<index_t> root{-1};
  EXPECT_TRUE((relpos::tree{root, 0}.check({})));
  EXPECT_STREQ((relpos::tree{root, (index_t{1} << 60) + 1}.check({}).message),
               "tree: first: is 1152921504606846977, must be within +-2^60");
  relpos::tree null{std::span<const index_t>(), 0};
  EXPECT_TRUE(null.check({}));
  null.parents.size = 3;
  EXPECT_EQ(null.check({}).code, relpos::status_code::null_data);
}

// Three siblings behind 5 and 12 other rows, in a ragged batch. All scores are 0: the keys that a
// draft sees are the exponential of its lse.
TEST(tree, sequences_of_unequal_length_have_a_first_each) {
  const std::vector<index_t> parents{-1, -1, -1};
  const std::vector<index_t> query_starts{0, 3, 6};
  const std::vector<index_t> key_starts{0, 8, 23};
  const support::tensor<float> zeros({1, 1, 23, 4});
  const auto attend = [&](const relpos::tree& mask, support::tensor<float, 3>& lse) {
    support::tensor<float> out({1, 1, 6, 4});
    std::vector<std::byte> memory(1 << 16);
    return relpos::attention(
        relpos::serial{}, memory, out.view(), zeros.view().slice(2, 0, 6), zeros.view(),
        zeros.view(), mask,
        relpos::options{.lse = lse.view(), .query_starts = query_starts, .key_starts = key_starts});
  };
  support::tensor<float, 3> lse({1, 1, 6});
  const std::vector<index_t> firsts{5, 12};
  const relpos::status done = attend(relpos::tree{parents, firsts}, lse);
  ASSERT_TRUE(done) << done.message;
  for (index_t draft = 0; draft < 6; ++draft) {
    EXPECT_NEAR(std::exp(lse(0, 0, draft)), draft < 3 ? 6.0f : 13.0f, 1e-4f);
  }
  EXPECT_STREQ(
      attend(relpos::tree{parents, 12}, lse).message,
      "tree: first is 12 for all sequences, but the queries of sequence 1 begin at "
      "position 12 and the queries of sequence 0 at 5: give a list of firsts, one per sequence");
  // The same inside of another mask.
  support::tensor<float> out({1, 1, 6, 4});
  std::vector<std::byte> memory(1 << 16);
  const relpos::status inside = relpos::attention(
      relpos::serial{}, memory, out.view(), zeros.view().slice(2, 0, 6), zeros.view(), zeros.view(),
      relpos::both{relpos::tree{parents, 12}, relpos::band{1000, 0}},
      relpos::options{.query_starts = query_starts, .key_starts = key_starts});
  EXPECT_EQ(std::string(inside.message).substr(0, 17), "tree: first is 12");
  const std::vector<index_t> one{5};
  EXPECT_STREQ(attend(relpos::tree{parents, one}, lse).message, "tree: 1 firsts for 2 sequences");
  const std::vector<index_t> none;
  EXPECT_STREQ(attend(relpos::tree{parents, none}, lse).message, "tree: 0 firsts for 2 sequences");
  const std::vector<index_t> far{5, (index_t{1} << 60) + 1};
  EXPECT_EQ(attend(relpos::tree{parents, far}, lse).code, relpos::status_code::invalid_value);
}

TEST(tree, parents_are_not_written) {
  const std::vector<index_t> parents{-1, 0};
  const relpos::tree mask{parents, 0};
  EXPECT_TRUE(mask.reads(relpos::byte_range::of(parents.data() + 1, 1)));
  EXPECT_FALSE(mask.reads(relpos::byte_range::of(parents.data() + 2, 8)));
  const std::vector<index_t> firsts{0, 3};
  const relpos::tree apart{parents, firsts};
  EXPECT_TRUE(apart.reads(relpos::byte_range::of(firsts.data() + 1, 1)));
}

}  // namespace
