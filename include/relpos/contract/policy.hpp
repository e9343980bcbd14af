#pragma once
// What makes a struct a policy. It opts into a stage of
//
//   s = (softcap(scale R q.R k) + bias) factor / temperature,
//   p = e^s / (e^sink + sum of e^s over the visible keys),
//
// by having the stage's member; a member that is absent costs no score anything. All members are
// const.
//
//   rotation R of queries and keys
//     rotation_rows rotations()                tables of what channel pairs are multiplied by
//     rotor relative_rotor(index_t pair, index_t distance)
//                                              and what is left of it in the product
//   bias, one of
//     Real bias(Real distance)                 vector-generic, computed in the loop; distance is
//                                              k_pos - q_pos, Real is double or a SIMD pack
//     double tabulated_bias(index_t head, index_t distance)
//                                              any scalar function; asked once per head and distance
//                                              that some query sees, then one load per vector
//     float bias_element(index_t query_row, index_t key_row)
//                                              a matrix, by the rows of this call
//   mask, one of
//     key_range visible_keys(index_t q_pos)    the keys that a query sees, as one range
//     bool keep(index_t q_pos, index_t k_pos)  anything; with `tile_class classify(tile)` whole
//                                              tiles are skipped or computed without asking
//     index_t window_start(index_t q_pos)      of a sliding window: the first key that it shows the
//                                              query. A ring that has evicted it refuses the call
//   temperature
//     float softmax_temperature()              > 0
//     float logit_factor(index_t q_pos)        of the logits of one row, bias included; finite
//     float logit_factor(index_t q_pos, index_t visible)
//                                              the same from the number of keys that the row sees;
//                                              with masks that are ranges
//   softmax
//     float sink_logit()                       joins the denominator, without a value
//   positions, of rows that are not counted on from one offset; rotations, biases of a distance and
//   logit_factor(q_pos) read them, all else goes by rows
//     index_t query_position(index_t batch, index_t row, index_t axis)
//     index_t key_position(index_t batch, index_t row, index_t axis)
//     index_t axes()                           1, or more where a rotation reads them
//
// and, where they help:
//     auto bind(index_t head)                  the policy of one head: per-head values in registers.
//     auto bind(index_t batch, index_t head)   The other members are then looked for in its result
//                                              (those of a rotation, and tabulated_bias, in the
//                                              policy itself)
//     Policy scaled(float factor)              the same bias times a factor, folded in once
//     Real add_to(Real score, Real distance)   beside `scaled`: score + bias, rounded as the policy says
//     float upper_bound(index_t first, index_t last)
//                                              no bias over these distances is larger; lets tiles
//                                              be skipped whose every weight is exactly zero
//     float row_gate(index_t query_row)        of a tabulated bias: a factor for one row of the call
//     distance_range varies()                  tabulated_bias is constant on either side of it
//     status check(const attention_shape&)     refuses a call that the policy's data does not fit
//     status check_sequences(const Call&)      the same of all sequences: call.shape.batch, and
//                                              call.shape_of(i) and call.position_of(i) of each
//     bool reads(const byte_range& memory)     its data lies there: outputs must not
//     static constexpr float default_scale     instead of 1/sqrt(head_dim)

#include <concepts>
#include <tuple>
#include <type_traits>

#include "relpos/contract/rotation.hpp"
#include "relpos/core/memory.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// Differs between the entries of a batch.
template <class Policy>
concept binds_batch = requires(const Policy& policy, index_t at) { policy.bind(at, at); };

/// Differs between heads or the entries of a batch; all others are the same for all.
template <class Policy>
concept binds =
    binds_batch<Policy> || requires(const Policy& policy, index_t at) { policy.bind(at); };

/// The policy of one head.
template <class Policy>
constexpr auto bind(const Policy& policy, index_t batch, index_t head) {
  if constexpr (binds_batch<Policy>) {
    return policy.bind(batch, head);
  } else if constexpr (requires { policy.bind(head); }) {
    return policy.bind(head);
  } else {
    return policy;
  }
}

template <class Policy>
using head_policy_of = decltype(bind(std::declval<const Policy&>(), index_t{}, index_t{}));

/// The policies of one head.
template <class... Policies>
auto bind_all(const std::tuple<Policies...>& policies, index_t batch, index_t head) {
  return std::apply(
      [&](const auto&... each) {
        return std::tuple<head_policy_of<Policies>...>(bind(each, batch, head)...);
      },
      policies);
}

// Stages, each asked of a bound policy (rotation and tabulated_bias of the policy itself).

template <class Policy>
concept is_rotation = requires(const Policy& policy, index_t at) {
  { policy.rotations() } -> std::same_as<rotation_rows>;
  { policy.relative_rotor(at, at) } -> std::same_as<rotor>;
};

template <class HeadPolicy>
concept computes_bias = requires(const HeadPolicy& policy) {
  { policy.bias(1.0) } -> std::convertible_to<double>;
};

template <class Policy>
concept tabulates_bias = requires(const Policy& policy, index_t at) {
  { policy.tabulated_bias(at, at) } -> std::convertible_to<double>;
};

template <class HeadPolicy>
concept stores_bias = requires(const HeadPolicy& policy, index_t at) {
  { policy.bias_element(at, at) } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept bounds_bias = computes_bias<HeadPolicy> && requires(const HeadPolicy& policy, index_t at) {
  { policy.upper_bound(at, at) } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept masks_range = requires(const HeadPolicy& policy, index_t at) {
  { policy.visible_keys(at) } -> std::same_as<key_range>;
};

template <class HeadPolicy>
concept masks_elements = requires(const HeadPolicy& policy, index_t at) {
  { policy.keep(at, at) } -> std::convertible_to<bool>;
};

template <class HeadPolicy>
concept slides_window = requires(const HeadPolicy& policy, index_t at) {
  { policy.window_start(at) } -> std::same_as<index_t>;
};

template <class HeadPolicy>
concept sets_temperature = requires(const HeadPolicy& policy) {
  { policy.softmax_temperature() } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept scales_by_position = requires(const HeadPolicy& policy, index_t at) {
  { policy.logit_factor(at) } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept scales_by_count = requires(const HeadPolicy& policy, index_t at) {
  { policy.logit_factor(at, at) } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept scales_rows = scales_by_position<HeadPolicy> || scales_by_count<HeadPolicy>;

template <class HeadPolicy>
concept has_sink = requires(const HeadPolicy& policy) {
  { policy.sink_logit() } -> std::convertible_to<float>;
};

template <class Policy>
concept places_tokens = requires(const Policy& policy, index_t at) {
  { policy.query_position(at, at, at) } -> std::same_as<index_t>;
  { policy.key_position(at, at, at) } -> std::same_as<index_t>;
  { policy.axes() } -> std::same_as<index_t>;
};

template <class HeadPolicy>
concept gates_rows = requires(const HeadPolicy& policy, index_t at) {
  { policy.row_gate(at) } -> std::convertible_to<float>;
};

/// How many of the three a policy has. Of two, kernels could not know which is meant: calls refuse
/// it (call/arguments.hpp).
template <class Policy>
inline constexpr int bias_count =
    (computes_bias<head_policy_of<Policy>> ? 1 : 0) + (tabulates_bias<Policy> ? 1 : 0) +
    (stores_bias<head_policy_of<Policy>> ? 1 : 0);
template <class Policy>
inline constexpr bool is_bias = bias_count<Policy> > 0;
template <class Policy>
inline constexpr bool is_mask =
    masks_range<head_policy_of<Policy>> || masks_elements<head_policy_of<Policy>>;
template <class Policy>
inline constexpr bool is_temperature = sets_temperature<head_policy_of<Policy>>;

/// Reads the positions of tokens, and not of rows.
template <class Policy>
inline constexpr bool reads_positions =
    is_rotation<Policy> || computes_bias<head_policy_of<Policy>> || tabulates_bias<Policy> ||
    scales_by_position<head_policy_of<Policy>>;

/// Where a tabulated bias varies: everywhere, unless it says otherwise.
template <class Policy>
constexpr distance_range varying_distances(const Policy& policy) {
  if constexpr (requires { policy.varies(); }) {
    return policy.varies();
  } else {
    return unlimited_distances;
  }
}

template <class Policy>
concept policy = std::is_trivially_copyable_v<Policy> &&
                 (is_rotation<Policy> || is_bias<Policy> || is_mask<Policy> ||
                  is_temperature<Policy> || scales_rows<head_policy_of<Policy>> ||
                  has_sink<head_policy_of<Policy>> || places_tokens<Policy>);

}  // namespace relpos::inline RELPOS_ABI
