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

/// Makes `result` the refusal of written memory that shares a byte with another argument, unless
/// `result` is a failure already. The elements of one may lie between the elements of the other.
inline void check_apart(const labelled_memory& written, const labelled_memory& other,
                        status& result) {
  if (result && written.bytes.overlaps(other.bytes)) result = check_elements_apart(written, other);
}

/// Calls use(labelled_memory) for each output of a call that has elements.
template <class Out, class Real, class Use>
void for_each_written(const call_outputs<Out, Real>& outputs, const Use& use) {
  const auto use_elements = [&](const char* name, const auto& array) {
    if (array.size() > 0) use(labelled_memory(name, array));
  };
  if (outputs.lse) use_elements(outputs.lse_name, *outputs.lse);
  use_elements(outputs.out_name, outputs.out);
  if (!outputs.statistics.any()) return;
  for (const auto& statistic : outputs.statistics.all()) {
    if (statistic.rows) use_elements(statistic.name, *statistic.rows);
  }
}

/// Refuses two outputs that overlap.
template <class Out, class Real>
status check_outputs_apart(const call_outputs<Out, Real>& outputs) {
  status result;
  index_t place = 0;
  for_each_written(outputs, [&](const labelled_memory& written) {
    index_t other_place = 0;
    for_each_written(outputs, [&](const labelled_memory& other) {
      if (other_place++ > place) check_apart(written, other, result);
    });
    ++place;
  });
  return result;
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
  for_each_read(q, source, opts,
                [&](const labelled_memory& read) { check_apart(written, read, result); });
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
  status result;
  for_each_written(outputs, [&](const labelled_memory& written) {
    if (result) result = check_apart_from_inputs(written, q, source, opts, policies);
  });
  return result ? check_outputs_apart(outputs) : result;
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
  status result;
  for_each_written(outputs,
                   [&](const labelled_memory& written) { check_apart(used, written, result); });
  return result ? check_apart_from_inputs(used, q, source, opts, policies) : result;
}

}  // namespace relpos::inline RELPOS_ABI
