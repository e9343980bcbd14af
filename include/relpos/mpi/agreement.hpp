#pragma once
// All ranks make the same call, or all refuse it with the same words. A rank that refuses alone, or
// computes with other policies, would leave the others waiting or wrong.

#include <mpi.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <exception>
#include <tuple>
#include <type_traits>
#include <vector>

#include "relpos/call/options.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/mpi/group.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// A hash of integers and flags (FNV-1a, by 64 bits), and a weighted sum of numbers, which may be off
/// by roundings: functions of the standard library round by processor.
class digest {
 public:
  void add(std::uint64_t bits) { hash_ = (hash_ ^ bits) * 0x100000001b3u; }
  void add(index_t number) { add(static_cast<std::uint64_t>(number)); }
  void add(bool flag) { add(std::uint64_t{flag}); }
  void add(double number) {
    add(std::isfinite(number));
    if (!std::isfinite(number)) return;
    weight_ = weight_ % 17 + 1;
    sum_ += weight_ * number;
    size_ += std::abs(weight_ * number);
  }
  void add(float number) { add(static_cast<double>(number)); }

  std::uint64_t hash() const { return hash_; }
  double sum() const { return sum_; }
  double size() const { return size_; }  // the sum of magnitudes

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325u;
  int weight_ = 0;
  double sum_ = 0.0, size_ = 0.0;
};

inline std::uint64_t digest_of(const group& ranks) {
  digest result;
  for (const sequence_shards* shards : {&ranks.queries(), &ranks.keys()}) {
    for (const auto& pieces : shards->pieces) {
      result.add(static_cast<index_t>(pieces.size()));
      for (const key_range& piece : pieces) {
        result.add(piece.first);
        result.add(piece.last);
      }
    }
  }
  return result.hash();
}

/// The options that every rank has, with the scale that they and the policies give.
inline std::uint64_t digest_of(const options& opts, float scale) {
  digest result;
  for (const float number : {scale, opts.softcap, opts.tolerance}) {
    result.add(std::uint64_t{std::bit_cast<std::uint32_t>(number)});
  }
  for (const auto& each : opts.statistics.all()) result.add(each.rows.has_value());
  result.add(static_cast<index_t>(opts.kernel));
  result.add(static_cast<index_t>(opts.arithmetic));
  return result.hash();
}

/// The stages that a policy takes part in, one bit each.
template <class Policy>
constexpr index_t stages_of() {
  using bound = head_policy_of<Policy>;
  index_t bits = 0;
  for (const bool each :
       {computes_bias<bound>, tabulates_bias<Policy>, mixes_bias<Policy>, stores_bias<bound>,
        has_key_terms<bound>, has_query_terms<bound>, bounds_bias<bound>, gates_rows<bound>,
        caps_after_bias<bound>, masks_range<bound>, masks_elements<bound>, sets_temperature<bound>,
        scales_rows<bound>, has_sink<bound>, has_sink_of_rows<bound>, is_rotation<Policy>,
        places_tokens<Policy>, reads_axis<Policy>, selects_keys<Policy>}) {
    bits = 2 * bits + (each ? 1 : 0);
  }
  return bits;
}

/// Adds what a policy says of one query and some keys that it sees. `ByRows`: distances are of rows,
/// as the policies read them.
template <bool ByRows, class Policy>
void add_samples(digest& into, const Policy& policy, index_t batch, index_t head, index_t q_pos,
                 const std::array<index_t, 3>& k_positions) {
  const auto of_head = bind(policy, batch, head);
  using bound = head_policy_of<Policy>;
  if constexpr (sets_temperature<bound>)
    into.add(static_cast<float>(of_head.softmax_temperature()));
  if constexpr (has_sink<bound> && !has_sink_of_rows<bound>) {
    into.add(static_cast<float>(of_head.sink_logit()));
  }
  if constexpr (caps_after_bias<bound>) into.add(of_head.cap_after_bias());
  if constexpr (scales_by_position<bound>)
    into.add(static_cast<float>(of_head.logit_factor(q_pos)));
  if constexpr (scales_by_count<bound>) {
    const index_t seen = k_positions.back() - k_positions.front() + 1;
    into.add(static_cast<float>(of_head.logit_factor(q_pos, seen)));
  }
  if constexpr (selects_keys<Policy>) into.add(policy.selection(batch, 0, 0).block_keys);
  if constexpr (masks_range<bound>) {
    into.add(of_head.visible_keys(q_pos).first);
    into.add(of_head.visible_keys(q_pos).last);
  }
  if constexpr (is_rotation<Policy>) {
    into.add(policy.rotations().pairs);
    for (index_t pair = 0; pair < policy.rotations().pairs; ++pair) {
      into.add(policy.relative_rotor(pair, 1).real);
      into.add(policy.relative_rotor(pair, 1).imaginary);
    }
  }
  for (const index_t k_pos : k_positions) {
    [[maybe_unused]] const index_t distance = k_pos - q_pos;
    if constexpr (has_key_terms<bound>) into.add(sum_of_terms(of_head, q_pos, k_pos));
    if constexpr (masks_elements<bound>) into.add(static_cast<bool>(of_head.keep(q_pos, k_pos)));
    if constexpr (!ByRows || reads_axis<Policy>) continue;
    if constexpr (computes_bias<bound>) {
      into.add(static_cast<double>(of_head.bias(static_cast<double>(distance))));
    }
    if constexpr (tabulates_bias<Policy>) {
      into.add(static_cast<double>(policy.tabulated_bias(head, distance)));
    }
    if constexpr (mixes_bias<Policy>) {
      for (index_t term = 0; term < policy.terms(); ++term) {
        into.add(static_cast<double>(policy.tabulated_term(head, term, distance)));
      }
    }
  }
}

/// Samples of the policies, in up to 8 digests: each head, the first query of up to 8 ranks, three
/// keys that the query sees.
using policy_digests = std::array<digest, 8>;

template <class... Policies>
policy_digests digests_of(const std::tuple<Policies...>& policies, const attention_shape& shape,
                          const group& ranks) {
  constexpr int most_ranks = 8;
  constexpr bool by_rows = !(places_tokens<Policies> || ... || false);
  policy_digests result;
  const key_range all = hull_of(ranks.keys());
  for (int rank = 0; shape.batch > 0 && rank < std::min(ranks.size(), most_ranks); ++rank) {
    const auto& pieces = ranks.queries().of(rank);
    const auto piece = std::find_if(pieces.begin(), pieces.end(),
                                    [](const key_range& each) { return !is_empty(each); });
    if (piece == pieces.end()) continue;
    const index_t q_pos = piece->first;
    for (index_t head = 0; head < shape.query_heads; ++head) {
      const index_t batch = rank % shape.batch;
      const key_range rows =
          visible_key_rows(bind_all(policies, batch, head), q_pos, all.first, all.last - all.first);
      if (rows.first >= rows.last) continue;
      const key_range keys{rows.first + all.first, rows.last + all.first};
      const std::array<index_t, 3> samples{keys.first, (keys.first + keys.last) / 2, keys.last - 1};
      std::size_t number = 0;
      std::apply(
          [&](const auto&... policy) {
            (add_samples<by_rows>(result[number++ % result.size()], policy, batch, head, q_pos,
                                  samples),
             ...);
          },
          policies);
    }
  }
  return result;
}

/// A number for each storage type.
template <class T>
index_t storage_number() {
  return std::is_same_v<T, float> ? 0 : std::is_same_v<T, half> ? 1 : 2;
}

/// The facts of a call that must be equal on all ranks.
struct call_facts {
  struct fact {
    const char* name;
    std::uint64_t value;
    bool is_number;  // or a hash
  };
  static constexpr std::size_t count = 11;
  static constexpr std::size_t words = count + 2 * std::tuple_size_v<policy_digests>;
  std::array<fact, count> facts{};
  policy_digests policies{};

  template <class Query, class Key, class Value, class... Policies>
  static call_facts of(const attention_shape& shape, const options& opts,
                       const std::tuple<Policies...>& policies, const group& ranks) {
    const auto number = [](index_t value) { return static_cast<std::uint64_t>(value); };
    const policy_digests of_policies = digests_of(policies, shape, ranks);
    digest hashes;
    (hashes.add(stages_of<Policies>()), ...);
    for (const digest& each : of_policies) hashes.add(each.hash());
    const index_t storages =
        storage_number<Query>() + 3 * storage_number<Key>() + 9 * storage_number<Value>();
    return {{{{"batch", number(shape.batch), true},
              {"heads of q", number(shape.query_heads), true},
              {"heads of k", number(shape.key_heads), true},
              {"head_dim", number(shape.head_dim), true},
              {"value_dim", number(shape.value_dim), true},
              {"storage types", number(storages), false},
              {"group.largest_message", ranks.largest_message(), true},
              {"options", digest_of(opts, score_scale(opts, policies, shape.head_dim)), false},
              {"number of policies", number(static_cast<index_t>(sizeof...(Policies))), true},
              {"policies", hashes.hash(), false},
              {"shards", digest_of(ranks), false}}},
            of_policies};
  }
};

/// Why two ranks' facts differ, if they do.
inline status compare(const call_facts& facts, int rank, const std::uint64_t* here,
                      const std::uint64_t* first) {
  constexpr std::size_t count = call_facts::count;
  const auto others = [&](const char* name) {
    return status::error(status_code::invalid_value,
                         "%s: rank %d has others than rank 0, but all ranks make one call", name,
                         rank);
  };
  for (std::size_t i = 0; i < count; ++i) {
    if (here[i] == first[i]) continue;
    const char* const name = facts.facts[i].name;
    if (!facts.facts[i].is_number) return others(name);
    return status::error(status_code::invalid_shape, "%s: is %lld on rank %d, but %lld on rank 0",
                         name, static_cast<long long>(here[i]), rank,
                         static_cast<long long>(first[i]));
  }
  for (std::size_t i = 0; i < facts.policies.size(); ++i) {
    const auto at = [&](const std::uint64_t* row, std::size_t place) {
      return std::bit_cast<double>(row[count + 2 * i + place]);
    };
    constexpr double roundings = 1e-7;
    if (std::abs(at(here, 0) - at(first, 0)) > roundings * at(first, 1)) return others("policies");
  }
  return {};
}

/// What `use` returns, or that it threw: a rank that leaves would leave the others waiting.
template <class Use>
status guarded(const Use& use) {
  try {
    return use();
  } catch (const std::exception& thrown) {
    return status::error(status_code::invalid_value, "an exception: %s", thrown.what());
  } catch (...) {
    return status::error(status_code::invalid_value, "an exception");
  }
}

/// The same outcome on all ranks: success if every rank's `own` is one. Collective.
inline status agree(const group& ranks, const status& own) {
  int failed = own ? ranks.size() : ranks.rank();  // the first rank that fails
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MIN, ranks.communicator());
  if (failed == ranks.size()) return {};
  status first = own;
  MPI_Bcast(&first, static_cast<int>(sizeof first), MPI_BYTE, failed, ranks.communicator());
  return status::error(first.code, "rank %d: %s", failed, first.message);
}

/// Refuses a call whose facts differ between ranks; `all` has room for the facts of all. Collective.
inline status agree_on(const group& ranks, const call_facts& facts,
                       std::vector<std::uint64_t>& all) {
  constexpr std::size_t count = call_facts::count;
  std::array<std::uint64_t, call_facts::words> mine{};
  for (std::size_t i = 0; i < count; ++i) mine[i] = facts.facts[i].value;
  for (std::size_t i = 0; i < facts.policies.size(); ++i) {
    mine[count + 2 * i] = std::bit_cast<std::uint64_t>(facts.policies[i].sum());
    mine[count + 2 * i + 1] = std::bit_cast<std::uint64_t>(facts.policies[i].size());
  }
  constexpr int words = static_cast<int>(call_facts::words);
  MPI_Allgather(mine.data(), words, MPI_UINT64_T, all.data(), words, MPI_UINT64_T,
                ranks.communicator());
  for (int rank = 1; rank < ranks.size(); ++rank) {
    const std::uint64_t* const here = &all[static_cast<std::size_t>(rank) * call_facts::words];
    if (status equal = compare(facts, rank, here, all.data()); !equal) return equal;
  }
  return {};
}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
