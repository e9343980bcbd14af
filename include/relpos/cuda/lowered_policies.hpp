#pragma once
// The types of a call's policies that kernels depend on. Kernels read everything else as numbers:
// range masks and logit scaling by query row (row_facts.hpp), temperatures and sinks by head,
// functions of tables as tables.

#include <tuple>
#include <type_traits>
#include <utility>

#include "relpos/call/bias_table.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/cuda/params.hpp"

namespace relpos::inline RELPOS_ABI {

struct no_data {};

/// A tabulated bias on the device: the table, and `Gate` if there is a factor for each row. The
/// function that fills the table stays on the host: it may be a lambda, whose type no kernel may
/// have as an argument.
template <class Gate>
struct device_table : Gate {
  bias_table table;
};

template <class T>
inline constexpr bool is_device_table = false;
template <class Gate>
inline constexpr bool is_device_table<device_table<Gate>> = true;

/// Logit scaling as one factor per query row: the stage after the biases.
struct device_row_factors {
  const float* factors;
};

/// `Rotation` is device_rotation if queries are rotated when they meet keys. `Places` is the policy
/// that has the positions of tokens, if biases read them. Both are no_data otherwise. `Biases` and
/// `Masks` are the tuples of device_head.
template <class Rotation, class Places, class Biases, class Masks>
struct lowered_types;

template <class Rotation, class Places, class... Bias, class Masks>
struct lowered_types<Rotation, Places, std::tuple<Bias...>, Masks> {
  using rotation = Rotation;
  using places = Places;
  using biases = std::tuple<Bias...>;
  using masks = Masks;

  static constexpr bool rotates = std::is_same_v<Rotation, device_rotation>;
  static constexpr bool has_implicit_positions = std::is_same_v<Places, no_data>;
  static constexpr bool has_row_factors =
      (std::is_same_v<Bias, device_row_factors> || ... || false);
  /// Whether scores can be bounded: there are biases, each has an upper bound, positions are
  /// implicit, and there is no rotation.
  static constexpr bool bounds_scores = sizeof...(Bias) > 0 &&
                                        (bounds_bias<Bias> && ... && true) && has_implicit_positions
                                        && !rotates;
};

/// The type that represents a bias policy on the device.
template <class Policy, class HeadPolicy = head_policy_of<Policy>>
using device_bias = std::conditional_t<
    tabulates_bias<Policy>,
    device_table<std::conditional_t<gates_rows<HeadPolicy>, HeadPolicy, no_data>>, HeadPolicy>;

/// A tuple of the stage of a bias policy; empty for other policies.
template <class Policy>
using device_biases_of =
    std::conditional_t<is_bias<Policy>, std::tuple<device_bias<Policy>>, std::tuple<>>;

/// The policy that has the positions of tokens, if there is one and a bias reads them; else
/// no_data.
template <class... Policies>
constexpr auto places_for_biases(const std::tuple<Policies...>& policies) {
  constexpr bool are_read =
      ((computes_bias<head_policy_of<Policies>> || tabulates_bias<Policies>) || ... || false);
  if constexpr (any_explicit_positions<Policies...> && are_read) {
    return row_positions(policies, positions{}, 0).policy;
  } else {
    return no_data();
  }
}

/// The lowered types of a call with these policies.
template <class... Policies>
using lowered_policies = lowered_types<
    std::conditional_t<any_rotation<Policies...> && !any_explicit_positions<Policies...>,
                       device_rotation, no_data>,
    decltype(places_for_biases(std::declval<const std::tuple<Policies...>&>())),
    decltype(std::tuple_cat(
        std::declval<device_biases_of<Policies>>()...,
        std::declval<std::conditional_t<(scales_rows<head_policy_of<Policies>> || ... || false),
                                        std::tuple<device_row_factors>, std::tuple<>>>())),
    element_masks_of<std::tuple<head_policy_of<Policies>...>>>;

}  // namespace relpos::inline RELPOS_ABI
