#pragma once
// The types of a call's policies that kernels depend on. What is not among them, the kernels have
// as numbers: range masks and logit scaling by query row (row_facts.hpp), temperatures and sinks by head,
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

/// A bias that is tabulated: the device has the table, and `Gate`, where there is a factor for each
/// row. The function that fills the table stays on the host: its type may be a lambda's, which no
/// kernel may have for an argument.
template <class Gate>
struct device_table : Gate {
  bias_table table;
};

template <class T>
inline constexpr bool is_device_table = false;
template <class Gate>
inline constexpr bool is_device_table<device_table<Gate>> = true;

/// Logit scaling, as one factor per query row: the stage behind the biases.
struct device_row_factors {
  const float* of_row;
};

/// `Rotation` is device_rotation where queries are rotated when they meet keys, `Places` the policy
/// that has the positions of tokens where biases read them, both no_data otherwise; `Biases` and
/// `Masks` are those of device_head.
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
  /// Whether scores can be bounded: each bias says so.
  static constexpr bool bounds_scores = sizeof...(Bias) > 0 &&
                                        (bounds_bias<Bias> && ... && true) && has_implicit_positions
                                        && !rotates;
};

/// What the device has of a policy that is a bias.
template <class Policy, class HeadPolicy = head_policy_of<Policy>>
using device_bias = std::conditional_t<
    tabulates_bias<Policy>,
    device_table<std::conditional_t<gates_rows<HeadPolicy>, HeadPolicy, no_data>>, HeadPolicy>;

/// A tuple of the stage of a policy that is a bias; of nothing for others.
template <class Policy>
using device_biases_of =
    std::conditional_t<is_bias<Policy>, std::tuple<device_bias<Policy>>, std::tuple<>>;

/// The policy that has the positions of tokens, if there is one and a bias reads them.
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
