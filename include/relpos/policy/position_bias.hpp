#pragma once
// Biases from one number for each position: of keys alone, and from sums that grow with the
// position, whose difference a query and a key add.
//
//   key_bias{b}         s += b(k_pos)
//   cumulative_bias{c}  s += c(q_pos) - c(k_pos)
//
// With c the running sum of the logarithms of forget gates, the second is the Forgetting Transformer
// (Lin et al., arXiv 2503.02130) and GRAPE-A. It decays: where no later number makes up for it,
// tiles of distant keys whose weights are exactly zero are left out, as under ALiBi. (Gates of mean
// 0.99 need 9000 positions for that.)
//
//   std::vector<double> c(length);  // of one head
//   std::partial_sum(log_gates.begin(), log_gates.end(), c.begin());

#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses a list of numbers that is not [batch or 1, heads or 1, position].
template <class T>
status check_position_list(const char* what, const view<const T, 3>& list,
                           const attention_shape& shape) {
  if (status valid = check_view(what, list); !valid) return valid;
  const bool of_batch = list.shape[0] == shape.batch || list.shape[0] == 1;
  const bool of_heads = list.shape[1] == shape.query_heads || list.shape[1] == 1;
  if (of_batch && of_heads) return {};
  return status::error(status_code::invalid_shape,
                       "%s: is %s, must be [batch or 1, heads or 1, position], of a batch of %lld "
                       "and %lld heads",
                       what, shape_text(list.shape).text, static_cast<long long>(shape.batch),
                       static_cast<long long>(shape.query_heads));
}

/// Refuses a list that has no number at one of `rows` positions from `first` on.
inline status check_listed(const char* what, const char* rows_of, index_t sequence, index_t first,
                           index_t rows, index_t listed) {
  if (rows == 0 || (first >= 0 && first + rows <= listed)) return {};
  return status::error(status_code::invalid_shape,
                       "%s: has %lld positions, but the %s of sequence %lld are at %lld to %lld",
                       what, static_cast<long long>(listed), rows_of,
                       static_cast<long long>(sequence), static_cast<long long>(first),
                       static_cast<long long>(first + rows - 1));
}

/// `key_bias{values}`: a view or tensor of float, [batch or 1, heads or 1, position]. Positions count
/// from 0, and the list holds the positions of all keys. Minus infinity hides a key. The bias is
/// added after the scale. The caller keeps the list alive. On the CPU only.
struct key_bias {
  view<const float, 3> values;

  constexpr key_bias(view<const float, 3> numbers) : values(numbers) {}

  struct of_head {
    const float* data;
    index_t stride;
    constexpr double key_term(index_t k_pos) const {
      return static_cast<double>(data[k_pos * stride]);
    }
  };
  constexpr of_head bind(index_t batch, index_t head) const {
    return {values.data + (values.shape[0] == 1 ? 0 : batch) * values.strides[0] +
                (values.shape[1] == 1 ? 0 : head) * values.strides[1],
            values.strides[2]};
  }

  status check(const attention_shape& shape) const {
    return check_position_list("key_bias: values", values, shape);
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    for (index_t i = 0; i < call.shape.batch; ++i) {
      if (status valid = check_listed("key_bias: values", "keys", i, call.position_of(i).key_offset,
                                      call.shape_of(i).key_length, values.shape[2]);
          !valid) {
        return valid;
      }
    }
    return {};
  }
  bool reads(const byte_range& memory) const { return byte_range::of(values).overlaps(memory); }
};

/// `cumulative_bias{sums}`: a view or tensor of double, [batch or 1, heads or 1, position]: a sum
/// over a million gates has no room in float. The difference is rounded to float, not the sums.
/// Positions count from 0, and the list holds the positions of all queries and keys. Numbers are
/// within +-1e30. The bias is added after the scale. The caller keeps the list alive. On the CPU only.
struct cumulative_bias {
  view<const double, 3> sums;

  constexpr cumulative_bias(view<const double, 3> numbers) : sums(numbers) {}

  struct of_head {
    const double* data;
    index_t stride;
    constexpr double query_term(index_t q_pos) const { return data[q_pos * stride]; }
    constexpr double key_term(index_t k_pos) const { return -data[k_pos * stride]; }
  };
  constexpr of_head bind(index_t batch, index_t head) const {
    return {sums.data + (sums.shape[0] == 1 ? 0 : batch) * sums.strides[0] +
                (sums.shape[1] == 1 ? 0 : head) * sums.strides[1],
            sums.strides[2]};
  }

  status check(const attention_shape& shape) const {
    return check_position_list("cumulative_bias: sums", sums, shape);
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    constexpr const char* what = "cumulative_bias: sums";
    for (index_t i = 0; i < call.shape.batch; ++i) {
      const attention_shape sizes = call.shape_of(i);
      const positions offsets = call.position_of(i);
      if (status valid = check_listed(what, "queries", i, offsets.query_offset, sizes.query_length,
                                      sums.shape[2]);
          !valid) {
        return valid;
      }
      if (status valid =
              check_listed(what, "keys", i, offsets.key_offset, sizes.key_length, sums.shape[2]);
          !valid) {
        return valid;
      }
    }
    return {};
  }
  bool reads(const byte_range& memory) const { return byte_range::of(sums).overlaps(memory); }
};

}  // namespace relpos::inline RELPOS_ABI
