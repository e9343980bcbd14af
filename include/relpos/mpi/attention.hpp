#pragma once
// Attention over a sequence whose rows are spread over the ranks of a group.

#include <tuple>
#include <type_traits>

#include "relpos/call/arguments.hpp"
#include "relpos/mpi/prepared_attention.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// @addtogroup mpi
/// @{

/// Checks a call on all ranks, and plans what travels.
///
/// Collective. If one rank's arguments do not fit, or differ from the others' in batch, heads,
/// channels, storage, options, policies or shards, `valid()` is the same failure on all ranks, and
/// nothing has been sent. Policies are compared by samples of their numbers. The result may `run`
/// any number of times; it refers to `ranks`, the tensors and the policies' data.
template <class Isa = native, executor Executor, class Out, class Query, class Key, class Value,
          class... Arguments>
auto prepare(const Executor& runner, const group& ranks, const view<Out, 4>& out,
             const view<Query, 4>& q, const view<Key, 4>& k, const view<Value, 4>& v,
             const Arguments&... arguments) {
  static_assert(check_arguments<Arguments...>());
  static_assert(!is_team_member<Executor>,
                "relpos: threads that all make the same call cannot all be a rank: use an executor "
                "with threads of its own");
  static_assert(
      !((differs_by_call<Arguments> &&
         (std::is_final_v<Arguments> ||
          (std::is_final_v<head_policy_of<Arguments>> && !reads_row_distances<Arguments>))) ||
        ... || false),
      "relpos: a policy that reads rows, or the number of visible keys, must not be final "
      "here");
  static_assert(
      !(lacks_from_rows<Arguments> || ... || false),
      "relpos: over ranks, a policy with bias_element and check_sequences needs from_rows");
  const auto policies = policies_of(arguments...);
  return [&]<class... Policies>(const std::tuple<Policies...>& all) {
    return prepared_attention<Isa, Out, std::remove_const_t<Query>, std::remove_const_t<Key>,
                              std::remove_const_t<Value>, Policies...>(
        runner, ranks, out, q, k, v, options_of(arguments...), all);
  }(policies);
}

/// Attention over a sequence whose rows are spread over ranks.
///
/// Each rank passes its own rows of q, k, v and out, and the data of policies for all heads.
/// Policies read positions in the whole sequence: data with a number for each key row (additive_bias,
/// token_positions, key_bias, key_tables) has all positions from 0 on, data with a number for each
/// query row has this rank's rows. Collective.
///
/// @snippet ring_attention.cpp attention
template <class Isa = native, executor Executor, class Out, class Query, class Key, class Value,
          class... Arguments>
status attention(const Executor& runner, const group& ranks, const view<Out, 4>& out,
                 const view<Query, 4>& q, const view<Key, 4>& k, const view<Value, 4>& v,
                 const Arguments&... arguments) {
  return mpi::prepare<Isa>(runner, ranks, out, q, k, v, arguments...).run(runner);
}

/// @}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
