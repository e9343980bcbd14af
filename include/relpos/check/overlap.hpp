#pragma once
// Checks that the memory that a call writes overlaps no other memory of the call.

#include <algorithm>
#include <array>
#include <tuple>

#include "relpos/call/options.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/check/shared_bytes.hpp"
#include "relpos/core/byte_range.hpp"
#include "relpos/core/workspace.hpp"

namespace relpos::inline RELPOS_ABI {

/// The memory of one argument. Its shape is formatted as text only in a refusal, because formatting
/// takes longer than all checks.
struct labelled_memory {
  const char* name;
  byte_range bytes;  // from the first to the last
  strided_bytes elements;

  template <class T, int Rank>
  labelled_memory(const char* argument, const view<T, Rank>& array)
      : name(argument), bytes(byte_range::of(array)), elements(strided_bytes::of(array)) {}
  /// Bytes that are not a tensor.
  labelled_memory(const char* argument, const byte_range& memory)
      : name(argument),
        bytes(memory),
        elements(strided_bytes::of_range(memory.first, memory.last)) {}

  bool is_empty() const { return bytes.first == bytes.last; }
  shape_text text() const { return shape_text(elements.shape.data(), elements.rank); }
};

/// Decides for two arguments whose ranges of bytes overlap, such as keys and values in one buffer.
/// Refuses them unless no element of one shares a byte with an element of the other.
RELPOS_NOINLINE inline status check_elements_apart(const labelled_memory& written,
                                                   const labelled_memory& other) {
  switch (sharing_of(written.elements, other.elements)) {
    case sharing::none:
      return {};
    case sharing::some:
      return status::error(status_code::overlap, "%s: memory of %s %s overlaps %s %s", written.name,
                           written.name, written.text().text, other.name, other.text().text);
    default:
      return status::error(status_code::overlap,
                           "%s: memory of %s %s may overlap %s %s: the ranges that they span "
                           "overlap, and their strides do not show that elements are distinct",
                           written.name, written.name, written.text().text, other.name,
                           other.text().text);
  }
}

/// Refuses written memory that shares a byte with another argument. The elements of one may lie
/// between the elements of the other.
inline status check_apart(const labelled_memory& written, const labelled_memory& other) {
  if (!written.bytes.overlaps(other.bytes)) return {};
  return check_elements_apart(written, other);
}

/// The memory of all outputs of a call; empty for absent outputs.
template <class Out, class Real>
std::array<labelled_memory, 7> written_memory(const call_outputs<Out, Real>& outputs) {
  const auto statistics = outputs.statistics.all();
  const auto memory = [](const auto& statistic) {
    return labelled_memory(statistic.name, statistic.rows_or_none());
  };
  return {labelled_memory(outputs.lse_name, outputs.lse_or_none()),
          labelled_memory(outputs.out_name, outputs.out),
          memory(statistics[0]),
          memory(statistics[1]),
          memory(statistics[2]),
          memory(statistics[3]),
          memory(statistics[4])};
}

/// Refuses two outputs that overlap.
template <std::size_t Count>
status check_all_apart(const std::array<labelled_memory, Count>& written) {
  for (std::size_t i = 0; i < Count; ++i) {
    if (written[i].is_empty()) continue;
    for (std::size_t j = i + 1; j < Count; ++j) {
      if (status valid = check_apart(written[i], written[j]); !valid) return valid;
    }
  }
  return {};
}

RELPOS_NOINLINE inline status refuse_over_policy(const labelled_memory& written) {
  return status::error(
      status_code::overlap,
      "%s: the range of memory that %s %s spans overlaps the range that the data of "
      "a policy spans",
      written.name, written.name, written.text().text);
}

/// The data of the policies of a call, without their types. Refers to the policies.
class policy_data {
 public:
  template <class... Policies>
  explicit policy_data(const std::tuple<Policies...>& policies)
      : policies_(&policies), reads_(&reads<Policies...>) {}

  template <class... Policies>
  explicit policy_data(const std::tuple<Policies...>&&) = delete;

  /// Whether any of the data lies in these bytes. Only the range of a policy's data is known, not
  /// the gaps in it.
  bool is_in(const byte_range& bytes) const { return reads_(policies_, bytes); }

 private:
  template <class... Policies>
  static bool reads(const void* policies, const byte_range& bytes) {
    [[maybe_unused]] const auto ask = [&](const auto& policy) {
      if constexpr (requires { policy.reads(bytes); }) return policy.reads(bytes);
      return false;
    };
    return std::apply([&](const auto&... policy) { return (ask(policy) || ... || false); },
                      *static_cast<const std::tuple<Policies...>*>(policies));
  }

  const void* policies_;
  bool (*reads_)(const void*, const byte_range&);
};

/// Refuses written memory that overlaps the data of a policy, or lies between its elements.
inline status check_apart_from_policies(const labelled_memory& written,
                                        const policy_data& policies) {
  return policies.is_in(written.bytes) ? refuse_over_policy(written) : status();
}

/// Calls use(labelled_memory) for each tensor and list that a call reads.
template <class Query, class Source, class Use>
void for_each_read(const view<Query, 4>& q, const Source& source, const options& opts,
                   const Use& use) {
  use(labelled_memory("q", q));
  source.memory_parts(use);
  const auto use_list = [&](const char* name, const index_list& list) {
    if (!list.empty()) use(labelled_memory(name, list.bytes()));
  };
  use_list("options.query_starts", opts.query_starts);
  use_list("options.query_offsets", opts.query_offsets);
  use_list("options.key_offsets", opts.key_offsets);
}

/// Refuses written memory that overlaps a tensor or list that a call reads.
template <class Query, class Source>
RELPOS_NOINLINE status check_apart_from_reads(const labelled_memory& written,
                                              const view<Query, 4>& q, const Source& source,
                                              const options& opts) {
  status result;
  for_each_read(q, source, opts, [&](const labelled_memory& read) {
    if (result) result = check_apart(written, read);
  });
  return result;
}

/// Refuses written memory that overlaps any input of a call: tensors, lists and policy data.
template <class Query, class Source>
status check_apart_from_inputs(const labelled_memory& written, const view<Query, 4>& q,
                               const Source& source, const options& opts,
                               const policy_data& policies) {
  const status result = check_apart_from_reads(written, q, source, opts);
  return result ? check_apart_from_policies(written, policies) : result;
}

/// Refuses outputs that overlap an input, policy data included, or each other.
template <class Out, class Real, class Query, class Source>
status check_overlap(const call_outputs<Out, Real>& outputs, const view<Query, 4>& q,
                     const Source& source, const options& opts, const policy_data& policies) {
  const auto memory = written_memory(outputs);
  for (const labelled_memory& written : memory) {
    if (written.is_empty()) continue;
    status valid = check_apart_from_inputs(written, q, source, opts, policies);
    if (!valid) return valid;
  }
  return check_all_apart(memory);
}

/// Refuses workspace of fewer than `needed` bytes.
inline status check_workspace(const workspace& memory, std::size_t needed) {
  const std::size_t bytes = memory.data == nullptr ? 0 : memory.bytes;
  if (bytes >= needed) return {};
  return status::error(status_code::workspace_too_small,
                       "workspace: has %zu bytes, needs %zu (see workspace_bytes)", bytes, needed);
}

/// Refuses workspace that overlaps a tensor or list of the call, or the data of a policy.
template <class Out, class Real, class Query, class Source>
status check_workspace_overlap(const byte_range& memory, const call_outputs<Out, Real>& outputs,
                               const view<Query, 4>& q, const Source& source, const options& opts,
                               const policy_data& policies) {
  const labelled_memory used("workspace", memory);
  for (const labelled_memory& written : written_memory(outputs)) {
    if (written.is_empty()) continue;
    if (status valid = check_apart(used, written); !valid) return valid;
  }
  return check_apart_from_inputs(used, q, source, opts, policies);
}

}  // namespace relpos::inline RELPOS_ABI
