#include "sheet.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "other_biases.hpp"
#include "svg.hpp"
#include "text.hpp"

namespace demo {
namespace {

constexpr int positions = 32;  // queries and keys of a map
constexpr int cell = 4;        // pixels
constexpr int map_size = positions * cell;
constexpr int columns = 6;
constexpr int pitch_x = 160;
constexpr int pitch_y = 178;
constexpr int left = 28;
constexpr int top = 86;

constexpr std::array colours = {"#e6eef8", "#cfe0f2", "#b3cfe9", "#93bcdf", "#71a6d3",
                                "#518fc5", "#3577b3", "#205f9e", "#124886", "#08306b"};
constexpr const char* hidden_colour = "#f4f1ea";
constexpr const char* mask_colour = "#518fc5";

/// [query][key]; NaN where the key is hidden.
using score_map = std::array<std::array<float, positions>, positions>;

/// The scores that the library computes for queries and keys that are all `rows`. Values are the
/// identity, so that the output holds the softmax weights: score = ln(weight) + lse.
template <class... Policies>
score_map scores_of(const tensor& rows, const Policies&... policies) {
  tensor identity(1, 1, positions, positions), weights(1, 1, positions, positions);
  identity.setZero();
  for (int i = 0; i < positions; ++i) identity(0, 0, i, i) = 1.0f;
  std::vector<float> lse(positions);
  attention(Eigen::DefaultDevice(), weights, rows, rows, identity, policies...,
            options{.lse = view<float, 3>(lse.data(), {1, 1, positions})});
  score_map result;
  for (int q = 0; q < positions; ++q) {
    for (int k = 0; k < positions; ++k) {
      const float weight = weights(0, 0, q, k);
      result[static_cast<std::size_t>(q)][static_cast<std::size_t>(k)] =
          weight > 0.0f ? std::log(weight) + lse[static_cast<std::size_t>(q)]
                        : std::numeric_limits<float>::quiet_NaN();
    }
  }
  return result;
}

/// Dark cells have the largest score of the map, pale ones the smallest.
void draw_map(svg& to, int place, const char* title, const char* code, const score_map& scores) {
  const int row = place / columns;
  const double x = left + (place - row * columns) * pitch_x;
  const double y = top + row * pitch_y;
  float lowest = std::numeric_limits<float>::infinity();
  float highest = -lowest;
  for (const auto& of_query : scores) {
    for (const float score : of_query) {
      if (std::isnan(score)) continue;
      lowest = std::min(lowest, score);
      highest = std::max(highest, score);
    }
  }
  const bool is_flat = highest - lowest < 1e-4f;
  const auto colour_of = [&](float score) -> std::size_t {
    const float level = (score - lowest) / (highest - lowest) * float{colours.size()};
    return std::min(static_cast<std::size_t>(level + 1e-3f), colours.size() - 1);
  };
  std::array<std::vector<std::pair<int, int>>, colours.size()> cells;
  std::vector<std::pair<int, int>> hidden;
  for (int q = 0; q < positions; ++q) {
    for (int k = 0; k < positions; ++k) {
      const float score = scores[static_cast<std::size_t>(q)][static_cast<std::size_t>(k)];
      const bool is_hidden = std::isnan(score);
      (is_hidden ? hidden : cells[is_flat ? 0 : colour_of(score)]).emplace_back(k, q);
    }
  }
  to.add_cells(x, y, cell, hidden_colour, hidden);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    to.add_cells(x, y, cell, is_flat ? mask_colour : colours[i], cells[i]);
  }
  to.add_frame(x, y, map_size, map_size);
  to.add_text(x, y - 20, title, 13, "start", "font-weight=\"bold\"");
  to.add_text(x, y - 6, code, 10, "start", "font-family=\"monospace\"");
}

/// Draws every encoding and mask, and returns their number.
int draw_maps(svg& to) {
  tensor none(1, 1, positions, 8), ones(1, 1, positions, head_dim);
  none.setZero();
  ones.setConstant(0.5f);
  int place = 0;
  const auto draw = [&](const char* title, const char* code, const auto&... policies) {
    draw_map(to, place++, title, code, scores_of(none, policies...));
  };
  const auto draw_rotation = [&](const char* title, const char* code, const auto&... policies) {
    draw_map(to, place++, title, code, scores_of(ones, policies...));
  };

  const std::vector<float> slopes{0.15f}, left_slopes{0.1f}, right_slopes{0.3f};
  // Learned tables favour near keys. An encoder's first 16 buckets lie before the query.
  std::vector<float> table(32), decoder_table(32);
  for (int bucket = 0; bucket < 32; ++bucket) {
    const auto steps = static_cast<float>(bucket % 16);
    table[static_cast<std::size_t>(bucket)] = (bucket < 16 ? -0.2f : -0.32f) * steps;
    decoder_table[static_cast<std::size_t>(bucket)] = -0.1f * static_cast<float>(bucket);
  }
  const std::vector<float> r1{0.5f}, r2{1.0f};
  const rotary_table rope(rope_frequencies(head_dim), pair_layout::half_split);
  const rotary_table xpos(xpos_frequencies(head_dim), pair_layout::half_split);
  draw("ALiBi", "alibi, causal", alibi{slopes}, causal{});
  draw("ALiBi, symmetric", "alibi_symmetric", alibi_symmetric{slopes});
  draw("ALiBi, two-sided", "alibi_two_sided", alibi_two_sided{left_slopes, right_slopes});
  draw("ALiBi, offset", "alibi_offset", alibi_offset{slopes});
  draw("ALiBi, one-sided", "alibi_one_sided", alibi_one_sided{slopes, 1});
  draw("T5, encoder", "t5_bias, bidirectional", t5_bias{table, bidirectional});
  draw("T5, decoder", "t5_bias, causal", t5_bias{decoder_table, unidirectional}, causal{});
  draw("KERPLE", "relative_bias, causal", examples::kerple_log(r1, r2), causal{});
  draw("Sandwich", "relative_bias, causal", examples::sandwich(1), causal{});
  // The first table favours near keys; the second, a wave, counts more from row to row.
  std::vector<float> coefficients, tables, waves;
  for (int i = 0; i < positions; ++i) {
    coefficients.insert(coefficients.end(), {1.0f, 0.05f * static_cast<float>(i)});
    const auto distance = static_cast<float>(i + 1 - positions);
    tables.push_back(0.1f * distance);
    waves.push_back(std::sin(0.8f * distance));
  }
  tables.insert(tables.end(), waves.begin(), waves.end());
  draw("mixed bias", "mixed_bias, causal",
       mixed_bias{view<const float, 4>(coefficients.data(), {1, 1, positions, 2}),
                  view<const float, 3>(tables.data(), {1, 2, positions}), 1 - positions},
       causal{});
  draw_rotation("RoPE, equal vectors", "rotary{rope}, causal", rotary{rope}, causal{});
  draw_rotation("XPOS, equal vectors", "rotary{xpos}, causal", rotary{xpos}, causal{});

  const std::vector<index_t> documents_begin{0, 9, 21, positions};
  const std::vector<index_t> padding{9}, lengths{30};
  // Causal, and two images whose tokens see each other.
  const std::vector<std::array<index_t, 2>> images{{5, 14}, {20, 26}};
  std::vector<index_t> first(positions, 0), last(positions);
  std::iota(last.begin(), last.end(), 1);
  for (const auto& [begin, end] : images) std::fill(&last[begin], &last[end], end);
  using list = view<const index_t, 2>;
  const list first_keys(first.data(), {1, positions}), last_keys(last.data(), {1, positions});
  const std::vector<index_t> parents{-1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6};
  constexpr int sequence_end = positions - 16;
  draw("ALiBi in documents", "alibi, documents{...}", alibi{slopes},
       documents{documents_begin, causal{}});
  draw("causal", "causal{}", causal{});
  draw("sliding window", "sliding_window{8}, causal", sliding_window{8}, causal{});
  draw("band", "band{8, 4}", band{8, 4});
  draw("blockwise causal", "blockwise_causal{8}", blockwise_causal{8});
  draw("chunked causal", "chunked_causal{8}", chunked_causal{8});
  draw("block lower", "block_lower{8}", block_lower{8});
  draw("prefix", "prefix{10}", prefix{10});
  draw("sinks", "either{..., sinks{3}}", either{sliding_window{8}, sinks{3}}, causal{});
  draw("documents", "documents{starts}", documents{documents_begin});
  draw("left padding", "left_padding{..., causal}", left_padding{padding, causal{}});
  draw("right padding", "right_padding{...}", right_padding{lengths});
  draw("lists of ranges", "key_ranges{first, last}", key_ranges{first_keys, last_keys});
  draw("tree of drafts", "tree{parents, 16}", tree{parents, sequence_end}, causal{});
  draw("both", "both{band, block_lower}", both{band{12, 12}, block_lower{8}});
  draw("either", "either{band, prefix}", either{band{4, 4}, prefix{8}});
  return place;
}

/// The values at first, first + 1, ... of a panel.
struct curve {
  const char* label;
  const char* colour;
  std::vector<double> values;
};

void draw_curves(svg& to, double x, double y, double width, double height, const char* title,
                 int first, int last, const std::vector<curve>& curves) {
  double lowest = 0.0, highest = 0.0;
  for (const curve& each : curves) {
    lowest = std::min(lowest, *std::min_element(each.values.begin(), each.values.end()));
    highest = std::max(highest, *std::max_element(each.values.begin(), each.values.end()));
  }
  const auto at = [&](double distance, double value) -> point {
    return {x + width * (distance - first) / (last - first),
            y + height * (highest - value) / (highest - lowest)};
  };
  to.add_text(x, y - 10, title, 13, "start", "font-weight=\"bold\"");
  to.add_frame(x, y, width, height);
  to.add_line({at(first, 0.0), at(last, 0.0)}, "#bbb", 1);
  for (int tick = 0; tick <= 4; ++tick) {
    const int distance = first + (last - first) * tick / 4;
    to.add_text(at(distance, 0.0).first, y + height + 16, std::to_string(distance), 11, "middle");
  }
  char largest[32];
  std::snprintf(largest, sizeof largest, "%.3g", highest);
  to.add_text(x - 5, y + 10, largest, 11, "end");
  to.add_text(x - 5, at(first, 0.0).second + 4, "0", 11, "end");
  for (std::size_t i = 0; i < curves.size(); ++i) {
    std::vector<point> points;
    points.reserve(curves[i].values.size());
    for (std::size_t n = 0; n < curves[i].values.size(); ++n) {
      points.push_back(at(first + static_cast<int>(n), curves[i].values[n]));
    }
    to.add_line(points, curves[i].colour, 1.6);
    to.add_text(x + width - 8, y + 18 + 16 * static_cast<double>(i), curves[i].label, 12, "end",
                std::string("fill=\"") + curves[i].colour + "\"");
  }
}

void draw_expectations(svg& to, double x, double y, double width, double height) {
  constexpr int furthest = 1024;
  const auto expected = [](const rotary_frequencies& frequencies) {
    std::vector<double> result;
    for (int n = 0; n <= furthest; ++n) {
      result.push_back(expected_score(frequencies, n) / expected_score(frequencies, 0));
    }
    return result;
  };
  draw_curves(to, x, y, width, height, "Expected score of a key n positions back", 0, furthest,
              {{"RoPE", "#c2571a", expected(rope_frequencies(head_dim))},
               {"XPOS", "#124886", expected(xpos_frequencies(head_dim))}});
}

void draw_buckets(svg& to, double x, double y, double width, double height) {
  constexpr int furthest = 160;
  const auto bucket_of = [](t5_direction direction) {
    const t5_buckets buckets{32, 128, direction};
    std::vector<double> result;
    for (int distance = -furthest; distance <= furthest; ++distance) {
      result.push_back(static_cast<double>(buckets.bucket(distance)));
    }
    return result;
  };
  draw_curves(to, x, y, width, height, "T5's bucket of a distance, key minus query", -furthest,
              furthest,
              {{"decoder", "#c2571a", bucket_of(unidirectional)},
               {"encoder", "#124886", bucket_of(bidirectional)}});
}

}  // namespace

void write_sheet(const std::string& path) {
  constexpr int width = left + columns * pitch_x;
  constexpr int curves_height = 150;
  svg sheet;
  sheet.add_text(left, 26, "Queries downwards, keys to the right, 32 of each.", 13);
  sheet.add_text(left, 44,
                 "Blue: the score, from the lowest (pale) to the highest (dark) of its map; "
                 "sand: hidden. Computed by relpos.",
                 13);
  const int curves_top = top + (draw_maps(sheet) + columns - 1) / columns * pitch_y;
  constexpr double half = 3 * pitch_x - 52;
  draw_expectations(sheet, left + 18, curves_top, half, curves_height);
  draw_buckets(sheet, left + 3 * pitch_x + 18, curves_top, half, curves_height);
  std::ofstream out(path);
  out << sheet.finished(width, curves_top + curves_height + 40);
  if (!out.flush()) throw std::runtime_error("cannot write '" + path + "'");
}

}  // namespace demo
