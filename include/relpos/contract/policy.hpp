#pragma once
// The members of a policy. A struct takes part in a stage of
//
//   s = cap(softcap(scale R q.R k) + bias) factor / temperature,
//   p = e^s / (e^sink + sum of e^s over the visible keys),
//
// if it has the stage's member. Absent members cost no time per score. All members are const.
//
//   rotation R of queries and keys
//     rotation_rows rotations()                tables of the factors of channel pairs
//     rotor relative_rotor(index_t pair, index_t distance)
//                                              the factor that remains in the product q.k
//   bias, one of
//     Real bias(Real distance)                 vector-generic, computed in the loop; distance is
//                                              k_pos - q_pos, Real is double or a SIMD pack
//     double tabulated_bias(index_t head, index_t distance)
//                                              any scalar function; called once per head and
//                                              distance that some query sees, then one load per
//                                              vector
//     index_t terms(), double tabulated_term(index_t head, index_t term, index_t distance), and
//     float coefficient(index_t query_row, index_t term)
//                                              the sum over terms of a row's coefficients times
//                                              tabulated functions
//     float bias_element(index_t query_row, index_t key_row)
//                                              a matrix element, by the rows of this call
//     double key_term(index_t k_pos), and optionally double query_term(index_t q_pos)
//                                              their sum; positions are row + offset, as for masks
//   cap of score and bias
//     float cap_after_bias()                   c in c tanh(s / c), > 0
//   mask, one or both of the first two; window_start is optional
//     key_range visible_keys(index_t q_pos)    the keys that a query sees, as one range
//     bool keep(index_t q_pos, index_t k_pos)  any predicate; with `tile_class classify(tile)`,
//                                              whole tiles are skipped or computed without `keep`
//     index_t window_start(index_t q_pos)      for a sliding window: the first key that it shows
//                                              the query. A ring that has evicted this key refuses
//                                              the call
//   selection
//     key_selection selection(index_t batch, index_t key_head, index_t query_row)
//                                              a list of the keys that a query attends to; masks
//                                              may hide some of them
//     index_t longest_selection()              the largest number of keys of a query
//   temperature
//     float softmax_temperature()              > 0
//     float logit_factor(index_t q_pos)        a factor of one row's logits, bias included; finite
//     float logit_factor(index_t q_pos, index_t visible)
//                                              the same, from the number of keys that the row sees;
//                                              only with masks that are ranges
//     float logit_factor_of_row(index_t query_row, index_t q_pos)
//                                              the same, one for each row of the call
//   softmax
//     float sink_logit()                       adds e^sink to the denominator, without a value
//     float sink_logit(index_t query_row)      the same, one for each row of the call
//   explicit positions, for rows that are not consecutive from one offset; rotations, biases of a
//   distance, logit_factor(q_pos) and logit_factor_of_row read them, all other stages use rows
//     index_t query_position(index_t batch, index_t row, index_t axis)
//     index_t key_position(index_t batch, index_t row, index_t axis)
//     index_t axes()                           1, or more if a rotation reads them
//
// Optional members:
//     auto bind(index_t head)                  the head policy: keeps per-head values in registers.
//     auto bind(index_t batch, index_t head)   The other members are then members of its result,
//                                              except rotations, relative_rotor, tabulated_bias,
//                                              terms, tabulated_term, varies, vanishes_beyond,
//                                              axis, selection, longest_selection and positions,
//                                              which stay in the policy, as do the last four
//                                              members of this list
//     Policy scaled(float factor)              the same bias times a factor, folded in once
//     Real add_to(Real score, Real distance)   used after `scaled`: score + bias, with the rounding
//                                              that the policy chooses
//     float upper_bound(index_t first, index_t last)
//                                              an upper bound of the bias over these distances;
//                                              tiles whose weights are all exactly zero are skipped
//     float row_gate(index_t query_row)        the factor of a tabulated bias for one row of the
//                                              call
//     index_t axis()                           the axis of token positions whose distance the bias
//                                              reads, in place of the first
//     distance_range varies()                  tabulated_bias, or each tabulated_term, is constant
//                                              on either side of it
//     bool vanishes_beyond()                   whether each tabulated_term is 0 there
//     status check(const attention_shape&)     refuses a call that the policy's data does not fit
//     status check_sequences(const Call&)      refuses sequences that the data does not fit, from
//                                              call.shape.batch and from call.shape_of(i) and
//                                              call.position_of(i) of each sequence
//     Policy from_rows(index_t query_row, index_t key_row, index_t distance)
//                                              for a bias_element that reads the distance of rows:
//                                              the policy of a call whose rows begin at these rows
//                                              of the data, and whose first key has this distance
//                                              from the first query
//     bool reads(const byte_range& memory)     whether the policy's data overlaps this memory;
//                                              outputs must not overlap it
//     static constexpr float default_scale     the scale in place of 1/sqrt(head_dim)

#include <concepts>
#include <tuple>
#include <type_traits>

#include "relpos/contract/rotation.hpp"
#include "relpos/contract/selection.hpp"
#include "relpos/core/byte_range.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// A policy that differs between the entries of a batch.
template <class Policy>
concept binds_batch = requires(const Policy& policy, index_t i) { policy.bind(i, i); };

/// A policy that differs between heads or the entries of a batch. Others are the same for all.
template <class Policy>
concept binds =
    binds_batch<Policy> || requires(const Policy& policy, index_t i) { policy.bind(i); };

/// The head policy: the result of `bind`, or the policy itself if it has no `bind`.
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

/// The type of a policy's head policies.
template <class Policy>
using head_policy_of = decltype(bind(std::declval<const Policy&>(), index_t{}, index_t{}));

/// The head policies of one head, in the order of `policies`.
template <class... Policies>
auto bind_all(const std::tuple<Policies...>& policies, index_t batch, index_t head) {
  return std::apply(
      [&](const auto&... policy) {
        return std::tuple<head_policy_of<Policies>...>(bind(policy, batch, head)...);
      },
      policies);
}

/// A policy whose data is indexed by rows and by their distance.
template <class Policy>
concept reads_row_distances = requires(const Policy& policy, index_t i) {
  { policy.from_rows(i, i, i) } -> std::same_as<Policy>;
};

// Stages. Each concept is tested on a head policy, except is_rotation, tabulates_bias, mixes_bias,
// selects_keys and places_tokens, which are tested on the policy itself.

template <class Policy>
concept is_rotation = requires(const Policy& policy, index_t i) {
  { policy.rotations() } -> std::same_as<rotation_rows>;
  { policy.relative_rotor(i, i) } -> std::same_as<rotor>;
};

template <class HeadPolicy>
concept computes_bias = requires(const HeadPolicy& policy) {
  { policy.bias(1.0) } -> std::convertible_to<double>;
};

template <class Policy>
concept tabulates_bias = requires(const Policy& policy, index_t i) {
  { policy.tabulated_bias(i, i) } -> std::convertible_to<double>;
};

template <class Policy>
concept mixes_bias =
    requires(const Policy& policy, const head_policy_of<Policy>& head_policy, index_t i) {
      { policy.terms() } -> std::same_as<index_t>;
      { policy.tabulated_term(i, i, i) } -> std::convertible_to<double>;
      { head_policy.coefficient(i, i) } -> std::convertible_to<float>;
    };

/// A policy of which each call makes tables over distance.
template <class Policy>
concept has_bias_table = tabulates_bias<Policy> || mixes_bias<Policy>;

template <class HeadPolicy>
concept stores_bias = requires(const HeadPolicy& policy, index_t i) {
  { policy.bias_element(i, i) } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept has_key_terms = requires(const HeadPolicy& policy, index_t i) {
  { policy.key_term(i) } -> std::same_as<double>;
};
template <class HeadPolicy>
concept has_query_terms =
    has_key_terms<HeadPolicy> && requires(const HeadPolicy& policy, index_t i) {
      { policy.query_term(i) } -> std::same_as<double>;
    };

template <class HeadPolicy>
concept bounds_bias = computes_bias<HeadPolicy> && requires(const HeadPolicy& policy, index_t i) {
  { policy.upper_bound(i, i) } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept caps_after_bias = requires(const HeadPolicy& policy) {
  { policy.cap_after_bias() } -> std::same_as<float>;
};

template <class HeadPolicy>
concept masks_range = requires(const HeadPolicy& policy, index_t i) {
  { policy.visible_keys(i) } -> std::same_as<key_range>;
};

template <class HeadPolicy>
concept masks_elements = requires(const HeadPolicy& policy, index_t i) {
  { policy.keep(i, i) } -> std::convertible_to<bool>;
};

template <class HeadPolicy>
concept slides_window = requires(const HeadPolicy& policy, index_t i) {
  { policy.window_start(i) } -> std::same_as<index_t>;
};

template <class Policy>
concept selects_keys = requires(const Policy& policy, index_t i) {
  { policy.selection(i, i, i) } -> std::same_as<key_selection>;
  { policy.longest_selection() } -> std::same_as<index_t>;
};

template <class HeadPolicy>
concept sets_temperature = requires(const HeadPolicy& policy) {
  { policy.softmax_temperature() } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept scales_by_position = requires(const HeadPolicy& policy, index_t i) {
  { policy.logit_factor(i) } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept scales_by_row = requires(const HeadPolicy& policy, index_t i) {
  { policy.logit_factor_of_row(i, i) } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept scales_by_count =
    !scales_by_row<HeadPolicy> && requires(const HeadPolicy& policy, index_t i) {
      { policy.logit_factor(i, i) } -> std::convertible_to<float>;
    };

template <class HeadPolicy>
concept scales_rows =
    scales_by_position<HeadPolicy> || scales_by_count<HeadPolicy> || scales_by_row<HeadPolicy>;

template <class HeadPolicy>
concept has_sink_of_rows = requires(const HeadPolicy& policy, index_t i) {
  { policy.sink_logit(i) } -> std::convertible_to<float>;
};

template <class HeadPolicy>
concept has_sink = has_sink_of_rows<HeadPolicy> || requires(const HeadPolicy& policy) {
  { policy.sink_logit() } -> std::convertible_to<float>;
};

template <class Policy>
concept places_tokens = requires(const Policy& policy, index_t i) {
  { policy.query_position(i, i, i) } -> std::same_as<index_t>;
  { policy.key_position(i, i, i) } -> std::same_as<index_t>;
  { policy.axes() } -> std::same_as<index_t>;
};

template <class HeadPolicy>
concept gates_rows = requires(const HeadPolicy& policy, index_t i) {
  { policy.row_gate(i) } -> std::convertible_to<float>;
};

/// The number of kinds of bias that a policy has: computed, tabulated, mixed, stored, or the sum of
/// two terms. Calls refuse a policy with two (call/arguments.hpp), because kernels could not know
/// which one is meant.
template <class Policy>
inline constexpr int bias_count =
    (computes_bias<head_policy_of<Policy>> ? 1 : 0) + (tabulates_bias<Policy> ? 1 : 0) +
    (mixes_bias<Policy> ? 1 : 0) + (stores_bias<head_policy_of<Policy>> ? 1 : 0) +
    (has_key_terms<head_policy_of<Policy>> ? 1 : 0);
/// Whether a policy is a bias.
template <class Policy>
inline constexpr bool is_bias = bias_count<Policy> > 0;
/// Whether a policy is a mask.
template <class Policy>
inline constexpr bool is_mask =
    masks_range<head_policy_of<Policy>> || masks_elements<head_policy_of<Policy>>;
/// Whether a policy is a temperature.
template <class Policy>
inline constexpr bool is_temperature = sets_temperature<head_policy_of<Policy>>;

/// Whether a policy reads the positions of tokens, which may be explicit, instead of rows.
template <class Policy>
inline constexpr bool reads_positions =
    is_rotation<Policy> || computes_bias<head_policy_of<Policy>> || has_bias_table<Policy> ||
    scales_by_position<head_policy_of<Policy>> || scales_by_row<head_policy_of<Policy>>;

/// The number that a bias of two terms adds to the score of a key.
template <has_key_terms HeadPolicy>
constexpr double sum_of_terms(const HeadPolicy& policy, [[maybe_unused]] index_t q_pos,
                              index_t k_pos) {
  if constexpr (has_query_terms<HeadPolicy>) {
    return policy.query_term(q_pos) + policy.key_term(k_pos);
  } else {
    return policy.key_term(k_pos);
  }
}

/// The number of tables of a head.
template <class Policy>
constexpr index_t table_terms([[maybe_unused]] const Policy& policy) {
  if constexpr (mixes_bias<Policy>) {
    return policy.terms();
  } else {
    return 1;
  }
}

/// A bias of the distance on an axis of its own.
template <class Policy>
concept reads_axis = requires(const Policy& policy) {
  { policy.axis() } -> std::same_as<index_t>;
};

/// The distances over which a tabulated bias varies: all, unless the policy has `varies`.
template <class Policy>
constexpr distance_range varying_distances(const Policy& policy) {
  if constexpr (requires { policy.varies(); }) {
    return policy.varies();
  } else {
    return unlimited_distances;
  }
}

/// Whether all terms of a mixed bias are 0 at these distances.
template <mixes_bias Policy>
constexpr bool vanishes_over([[maybe_unused]] const Policy& policy,
                             [[maybe_unused]] const distance_range& distances) {
  if constexpr (requires { policy.vanishes_beyond(); }) {
    const distance_range varying = varying_distances(policy);
    return policy.vanishes_beyond() &&
           (distances.last < varying.first || varying.last < distances.first);
  } else {
    return false;
  }
}

/// @addtogroup own_policies
/// @{

/// An encoding, a mask, a temperature or another stage of attention: a trivially copyable struct
/// that has the members of at least one stage.
///
/// @copydoc contract/policy.hpp
/// @include user_struct.cpp
template <class Policy>
concept policy = std::is_trivially_copyable_v<Policy> &&
                 (is_rotation<Policy> || is_bias<Policy> || is_mask<Policy> ||
                  selects_keys<Policy> || is_temperature<Policy> ||
                  scales_rows<head_policy_of<Policy>> || caps_after_bias<head_policy_of<Policy>> ||
                  has_sink<head_policy_of<Policy>> || places_tokens<Policy>);

/// @}

}  // namespace relpos::inline RELPOS_ABI
