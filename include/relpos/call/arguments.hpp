#pragma once
// The arguments after the tensors of a call: policies, and at most one `options`, in any order.
// They are sorted and checked at compile time; a wrong argument is reported in one line.

#include <tuple>
#include <type_traits>

#include "relpos/call/options.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Argument>
constexpr bool check_argument() {
  static_assert(
      std::is_same_v<Argument, options> || policy<Argument>,
      "relpos: this argument is neither options nor a policy: a policy is a trivially copyable "
      "struct with rotations, bias, tabulated_bias, tabulated_term, bias_element, key_term, "
      "cap_after_bias, visible_keys, keep, selection, softmax_temperature, logit_factor, "
      "logit_factor_of_row, sink_logit or query_position (contract/policy.hpp)");
  if constexpr (policy<Argument>) {
    static_assert(
        bias_count<Argument> <= 1,
        "relpos: a policy has one of bias, tabulated_bias, tabulated_term, bias_element and "
        "key_term");
  }
  return true;
}

template <class... Arguments>
constexpr bool check_arguments() {
  static_assert((0 + ... + (std::is_same_v<Arguments, options> ? 1 : 0)) <= 1,
                "relpos: options are given twice");
  if constexpr ((check_argument<Arguments>() && ... && true)) {
    static_assert((0 + ... + (is_temperature<Arguments> ? 1 : 0)) <= 1,
                  "relpos: the temperature is given twice");
    static_assert((0 + ... + (caps_after_bias<head_policy_of<Arguments>> ? 1 : 0)) <= 1,
                  "relpos: the softcap after the bias is given twice");
    static_assert((0 + ... + (has_sink<head_policy_of<Arguments>> ? 1 : 0)) <= 1,
                  "relpos: sink logits are given twice");
    static_assert(
        !(scales_by_count<head_policy_of<Arguments>> || ... || false) ||
            !((masks_elements<head_policy_of<Arguments>> || selects_keys<Arguments>) || ... ||
              false),
        "relpos: this logit scaling needs the number of keys that a query sees, which masks "
        "with `visible_keys` have, and masks with `keep` and selected keys do not");
    static_assert((0 + ... + (selects_keys<Arguments> ? 1 : 0)) <= 1,
                  "relpos: selected keys are given twice");
    static_assert((0 + ... + (is_rotation<Arguments> ? 1 : 0)) <= 1,
                  "relpos: the rotation is given twice");
    static_assert((0 + ... + (places_tokens<Arguments> ? 1 : 0)) <= 1,
                  "relpos: the positions of the tokens are given twice");
    static_assert(
        !(places_tokens<Arguments> || ... || false) || (reads_positions<Arguments> || ... || false),
        "relpos: nothing in this call reads the positions of the tokens: rotations, biases "
        "of a distance and logit scaling of a position do, masks and matrices read rows");
  }
  return true;
}

/// The policies of a call, in argument order.
template <class... Arguments>
constexpr auto policies_of(const Arguments&... arguments) {
  [[maybe_unused]] const auto keep = []<class Argument>(const Argument& argument) {
    if constexpr (std::is_same_v<Argument, options>) {
      return std::tuple<>();
    } else {
      return std::tuple<Argument>(argument);
    }
  };
  return std::tuple_cat(keep(arguments)...);
}

/// The options of a call, or the defaults.
template <class... Arguments>
constexpr options options_of(const Arguments&... arguments) {
  options result;
  [[maybe_unused]] const auto take = [&](const auto& argument) {
    if constexpr (std::is_same_v<std::decay_t<decltype(argument)>, options>) result = argument;
  };
  (take(arguments), ...);
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
