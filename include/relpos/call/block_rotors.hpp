#pragma once
// The rotation among the policies of a call, and its rotors between the blocks of queries and keys
// (contract/rotation.hpp).

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "relpos/call/row_positions.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/contract/rotation.hpp"

namespace relpos::inline RELPOS_ABI {

template <class... Policies>
inline constexpr bool any_rotation = (is_rotation<Policies> || ... || false);

/// Whether rows are rotated by blocks, because positions are implicit: keys and queries by their
/// offset in the block, and queries also by the rotor between their block and the keys' block.
template <class Policies>
inline constexpr bool rotates_by_blocks = false;
template <class... Policies>
inline constexpr bool rotates_by_blocks<std::tuple<Policies...>> =
    any_rotation<Policies...> && !any_explicit_positions<Policies...>;

/// Whether queries and keys are rotated by their whole position, because positions are explicit.
template <class Policies>
inline constexpr bool rotates_to_positions = false;
template <class... Policies>
inline constexpr bool rotates_to_positions<std::tuple<Policies...>> =
    any_rotation<Policies...> && any_explicit_positions<Policies...>;

/// Calls `use` with the rotating policy, if there is one.
template <class... Policies, class Use>
constexpr void with_rotation(const std::tuple<Policies...>& policies, const Use& use) {
  const auto ask = [&](const auto& policy) {
    if constexpr (is_rotation<std::decay_t<decltype(policy)>>) use(policy);
  };
  std::apply([&](const auto&... policy) { (ask(policy), ...); }, policies);
}

/// A tuple of the rotating policy and of the positions of tokens; without those that are absent.
template <class... Policies>
constexpr auto rotating_policies(const std::tuple<Policies...>& policies) {
  [[maybe_unused]] const auto keep = []<class Policy>(const Policy& policy) {
    if constexpr (is_rotation<Policy> || places_tokens<Policy>) {
      return std::tuple<Policy>(policy);
    } else {
      return std::tuple<>();
    }
  };
  return std::apply([&](const auto&... policy) { return std::tuple_cat(keep(policy)...); },
                    policies);
}

/// The value of a block of keys for queries that are not rotated to any block yet.
inline constexpr index_t not_rotated = std::numeric_limits<index_t>::min();

/// The rotors between blocks, for all pairs. Entry i is for a query block `first + i` blocks after
/// the key block.
struct block_rotors {
  float* data = nullptr;  // [count][2][pairs]
  index_t first = 0;      // block of queries - block of keys
  index_t count = 0;
  rotated_channels channels;  // half-split: rows are rotated already

  static constexpr index_t capacity(index_t distances) { return distances / rotation_block + 4; }

  block_rotors() = default;
  /// Covers these distances k_pos - q_pos.
  block_rotors(float* memory, const rotated_channels& of_rows, const distance_range& distances)
      : data(memory), channels{of_rows.first, of_rows.pairs, pair_layout::half_split} {
    // Positions x apart lie in blocks x / rotation_block apart, rounded down or up.
    first = floor_div(-distances.last, rotation_block);
    count = floor_div(-distances.first, rotation_block) + 2 - first;
  }

  /// Computes entry `i` of `count`.
  template <class Policy>
  void fill(index_t i, const Policy& policy) const {
    // Smaller factors would make scores subnormal, many times slower to compute with, and are lost
    // in any sum with another pair. Towards later keys decay becomes growth, which is clamped; the
    // masks of encodings with decay never show later keys.
    const auto component = [](double part) {
      constexpr double largest = std::numeric_limits<float>::max();
      if (std::abs(part) < 0x1p-100) return 0.0f;
      return static_cast<float>(std::clamp(part, -largest, largest));
    };
    const index_t pairs = channels.pairs;
    float* const out = data + i * 2 * pairs;
    for (index_t pair = 0; pair < pairs; ++pair) {
      const rotor factor = policy.relative_rotor(pair, -(first + i) * rotation_block);
      out[pair] = component(factor.real);
      out[pairs + pair] = component(factor.imaginary);
    }
  }

  /// The rotors [2][pairs] for queries of one block and keys of another.
  constexpr const float* between(index_t query_block, index_t key_block) const {
    const index_t i = std::clamp<index_t>(query_block - key_block - first, 0, count - 1);
    return data + i * 2 * channels.pairs;
  }
};

}  // namespace relpos::inline RELPOS_ABI
