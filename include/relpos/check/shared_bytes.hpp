#pragma once
// A test of whether two strided arrays share a byte. It uses their strides and enumerates no
// elements:
//
//   element i of a and element j of b share a byte
//     <=>  -size_a < address_a(i) - address_b(j) < size_b
//
// The difference is a sum of strides, each taken 0 to n times. Strides that step over less than the
// elements' size widen the bounds. For arrays in use, one woven into the other, a few steps decide
// the remaining strides.

#include <algorithm>
#include <array>
#include <numeric>

#include "relpos/core/byte_range.hpp"

namespace relpos::inline RELPOS_ABI {

enum class sharing {
  none,
  some,
  unknown  // not decided within the number of steps
};

/// The largest number of steps of the search for a shared byte. Strides that nest, as in tensors in
/// use, take about 10.
inline constexpr int max_sharing_steps = 1024;

/// The search for a sum of strides, each taken 0 to `count` times, that lies within [lowest,
/// highest].
class stride_sums {
 public:
  /// Searches for a difference address_a(i) - address_b(j) at which a byte is shared.
  stride_sums(const strided_bytes& a, const strided_bytes& b)
      : lowest_(1 - a.element_size - (a.address - b.address)),
        highest_(b.element_size - 1 - (a.address - b.address)) {
    add(a, a.element_size);
    add(b, -b.element_size);
    simplify();
  }

  sharing find(int steps) const { return find(count_, lowest_, highest_, steps); }

 private:
  struct term {
    index_t stride = 0;   // > 0
    index_t count = 0;    // > 0
    index_t reach = 0;    // the largest sum of this stride and all smaller ones
    index_t divisor = 0;  // greatest common divisor of these sums
  };

  void add(const strided_bytes& elements, index_t unit) {
    for (std::size_t axis = 0; axis < elements.rank; ++axis) {
      const index_t count = elements.shape[axis] - 1;
      if (count == 0 || elements.strides[axis] == 0) continue;  // any stride: it is not taken
      const index_t stride = elements.strides[axis] * unit;
      if (stride < 0) {  // count - i in place of i
        lowest_ -= count * stride;
        highest_ -= count * stride;
      }
      insert({stride < 0 ? -stride : stride, count});
    }
  }

  /// Inserts behind the terms of smaller strides. std::sort of an array this short makes g++ 12
  /// warn about its branch for more than 16 elements.
  void insert(const term& addend) {
    std::size_t i = count_++;
    for (; i > 0 && terms_[i - 1].stride > addend.stride; --i) terms_[i] = terms_[i - 1];
    terms_[i] = addend;
  }

  /// Strides that leave no gap between the bounds widen them; a stride that continues the steps of
  /// a smaller one is counted with it. Neither changes the answer.
  void simplify() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      const term addend = terms_[i];
      if (addend.stride <= highest_ - lowest_ + 1) {
        lowest_ -= addend.count * addend.stride;
        continue;
      }
      const auto continued =
          std::find_if(terms_.begin(), terms_.begin() + kept, [&](const term& smaller) {
            return addend.stride % smaller.stride == 0 &&
                   addend.stride / smaller.stride <= smaller.count + 1;
          });
      if (continued == terms_.begin() + kept) {
        terms_[kept++] = addend;
      } else {
        continued->count += addend.count * (addend.stride / continued->stride);
      }
    }
    count_ = kept;
    index_t reach = 0;
    index_t divisor = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      reach += terms_[i].count * terms_[i].stride;
      divisor = std::gcd(divisor, terms_[i].stride);
      terms_[i].reach = reach;
      terms_[i].divisor = divisor;
    }
  }

  /// Searches with the `used` smallest strides.
  sharing find(std::size_t used, index_t lowest, index_t highest, int& steps) const {
    if (--steps < 0) return sharing::unknown;
    const index_t reach = used == 0 ? 0 : terms_[used - 1].reach;
    if (highest < 0 || lowest > reach) return sharing::none;
    if (lowest <= 0 || highest >= reach) return sharing::some;  // the sum of none, or of all
    const term& largest = terms_[used - 1];
    if (highest / largest.divisor * largest.divisor < lowest) return sharing::none;
    // The largest stride is taken often enough for the smaller strides to reach the rest.
    const index_t left = std::max<index_t>(lowest - (reach - largest.count * largest.stride), 0);
    const index_t first = ceil_div(left, largest.stride);
    for (index_t taken = std::min(largest.count, highest / largest.stride); taken >= first;
         --taken) {
      const index_t sum = taken * largest.stride;
      const sharing found = find(used - 1, lowest - sum, highest - sum, steps);
      if (found != sharing::none) return found;
    }
    return sharing::none;
  }

  index_t lowest_;
  index_t highest_;
  std::array<term, 2 * strided_bytes::max_rank> terms_{};
  std::size_t count_ = 0;
};

/// Whether an element of a and one of b share a byte. Both must be addressable (is_addressable), so
/// that no computation of an address overflows.
inline sharing sharing_of(const strided_bytes& a, const strided_bytes& b,
                          int steps = max_sharing_steps) {
  if (a.is_empty() || b.is_empty()) return sharing::none;
  return stride_sums(a, b).find(steps);
}

}  // namespace relpos::inline RELPOS_ABI
