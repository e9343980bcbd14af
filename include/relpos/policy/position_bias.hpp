#pragma once
// Biases from one number for each position: of keys alone, and from sums that grow with the
// position, whose difference a query and a key add.
//
//   key_bias{b}         s += b(k_pos)
//   cumulative_bias{c}  s += c(q_pos) - c(k_pos)
//
// With c the running sum of the logarithms of forget gates, the second is the Forgetting
// Transformer (Lin et al., arXiv 2503.02130) and GRAPE-A. It decays: where no later number makes up
// for it, tiles of distant keys whose weights are exactly zero are left out, as under ALiBi. (Gates
// of mean 0.99 need 9000 positions for that.)

//   std::vector<double> c(length);  // of one head
//   std::partial_sum(log_gates.begin(), log_gates.end(), c.begin());

#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// Numbers of positions, [batch or 1, heads or 1, position], which count from 0.
template <class T>
struct position_list {
  view<const T, 3> numbers;

  struct of_head {
    const T* data;
    index_t stride;
    constexpr double at(index_t position) const {
      return static_cast<double>(data[position * stride]);
    }
  };
  constexpr of_head bind(index_t batch, index_t head) const {
    return {numbers.data + (numbers.shape[0] == 1 ? 0 : batch) * numbers.strides[0] +
                (numbers.shape[1] == 1 ? 0 : head) * numbers.strides[1],
            numbers.strides[2]};
  }

  status check(const char* what, const attention_shape& shape) const {
    if (status valid = check_view(what, numbers); !valid) return valid;
    const bool of_batch = numbers.shape[0] == shape.batch || numbers.shape[0] == 1;
    const bool of_heads = numbers.shape[1] == shape.query_heads || numbers.shape[1] == 1;
    if (of_batch && of_heads) return {};
    return status::error(status_code::invalid_shape,
                         "%s: is %s, must be [batch or 1, heads or 1, position], of a batch of "
                         "%lld and %lld heads",
                         what, shape_text(numbers.shape).text, static_cast<long long>(shape.batch),
                         static_cast<long long>(shape.query_heads));
  }
  /// Refuses a sequence whose `rows`, from position `first` on, are not all in the list.
  status check_rows(const char* what, const char* rows, index_t sequence, index_t first,
                    index_t count) const {
    const index_t listed = numbers.shape[2];
    if (count == 0 || (first >= 0 && first + count <= listed)) return {};
    return status::error(status_code::invalid_shape,
                         "%s: has %lld positions, but the %s of sequence %lld are at %lld to %lld",
                         what, static_cast<long long>(listed), rows,
                         static_cast<long long>(sequence), static_cast<long long>(first),
                         static_cast<long long>(first + count - 1));
  }
  bool overlaps(const byte_range& memory) const { return byte_range::of(numbers).overlaps(memory); }
};

/// @addtogroup encodings
/// @{

/// A bias of the key's position alone: s += b(k_pos).
///
/// `key_bias{values}`: a view or tensor of float, [batch or 1, heads or 1, position]. Positions
/// count from 0, and the list holds the positions of all keys. Minus infinity hides a key. The bias
/// is added after the scale. The caller keeps the list alive. On the CPU only.
///
/// @snippet reference.cpp key_bias
struct key_bias {
  position_list<float> values;  ///< [batch or 1, heads or 1, position]

  /// Takes a view or tensor of float.
  constexpr key_bias(view<const float, 3> of_positions) : values{of_positions} {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_head {
    position_list<float>::of_head values;
    constexpr double key_term(index_t k_pos) const { return values.at(k_pos); }
  };
  constexpr of_head bind(index_t batch, index_t head) const { return {values.bind(batch, head)}; }

  status check(const attention_shape& shape) const {
    return values.check("key_bias: values", shape);
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    status valid;
    for (index_t i = 0; i < call.shape.batch && valid; ++i) {
      valid = values.check_rows("key_bias: values", "keys", i, call.position_of(i).key_offset,
                                call.shape_of(i).key_length);
    }
    return valid;
  }
  bool reads(const byte_range& memory) const { return values.overlaps(memory); }
};

/// The difference of two running sums, s += c(q_pos) - c(k_pos): forget gates.
///
/// `cumulative_bias{sums}`: a view or tensor of double, [batch or 1, heads or 1, position]: a sum
/// over a million gates has no room in float. The difference is rounded to float, not the sums.
/// Positions count from 0, and the list holds the positions of all queries and keys. Numbers are
/// within +-1e30. The bias is added after the scale. The caller keeps the list alive. On the CPU
/// only.
///
/// @copydoc position_bias.hpp
/// @snippet reference.cpp cumulative_bias
struct cumulative_bias {
  position_list<double> sums;  ///< [batch or 1, heads or 1, position]

  /// Takes a view or tensor of double.
  constexpr cumulative_bias(view<const double, 3> of_positions) : sums{of_positions} {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_head {
    position_list<double>::of_head sums;
    constexpr double query_term(index_t q_pos) const { return sums.at(q_pos); }
    constexpr double key_term(index_t k_pos) const { return -sums.at(k_pos); }
  };
  constexpr of_head bind(index_t batch, index_t head) const { return {sums.bind(batch, head)}; }

  status check(const attention_shape& shape) const {
    return sums.check("cumulative_bias: sums", shape);
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    constexpr const char* what = "cumulative_bias: sums";
    status valid;
    for (index_t i = 0; i < call.shape.batch && valid; ++i) {
      const attention_shape sizes = call.shape_of(i);
      const positions offsets = call.position_of(i);
      valid = sums.check_rows(what, "queries", i, offsets.query_offset, sizes.query_length);
      if (valid) valid = sums.check_rows(what, "keys", i, offsets.key_offset, sizes.key_length);
    }
    return valid;
  }
  bool reads(const byte_range& memory) const { return sums.overlaps(memory); }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
