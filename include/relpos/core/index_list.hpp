#pragma once

#include <cstdint>
#include <ranges>
#include <type_traits>

#include "relpos/core/byte_range.hpp"
#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup tensors
/// @{

/// A reference to 32-bit or 64-bit integers that the caller keeps alive: offsets, starts.
///
/// One per sequence of a batch (cumulative lengths: one more): any lvalue with `data()` and
/// `size()`, or a std::span.
class index_list {
 public:
  /// No integers.
  constexpr index_list() = default;

  /// Refers to any container with `data()` and `size()`. A temporary that owns its data does not
  /// compile.
  template <class Container>
    requires(!std::is_same_v<std::remove_cvref_t<Container>, index_list> &&
             requires(Container& container) {
               container.data();
               container.size();
             })
  constexpr index_list(Container&& container) : size_(static_cast<index_t>(container.size())) {
    using owner = std::remove_cvref_t<Container>;
    using element = std::remove_cv_t<std::remove_pointer_t<decltype(container.data())>>;
    static_assert(
        std::is_lvalue_reference_v<Container> || std::ranges::enable_borrowed_range<owner>,
        "relpos: options refer to lists and do not copy them: give the vector a name and keep it "
        "alive, instead of passing a temporary");
    static_assert(std::is_integral_v<element> && (sizeof(element) == 4 || sizeof(element) == 8),
                  "relpos: a list is of 32-bit or 64-bit integers");
    if constexpr (sizeof(element) == 4) {
      narrow_ = reinterpret_cast<const std::int32_t*>(container.data());
    } else {
      wide_ = reinterpret_cast<const std::int64_t*>(container.data());
    }
  }

  /// @privatesection Checks and kernels read these members.
  constexpr index_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr bool is_null() const { return size_ > 0 && wide_ == nullptr && narrow_ == nullptr; }
  constexpr index_t operator[](index_t i) const {
    return wide_ != nullptr ? static_cast<index_t>(wide_[i]) : static_cast<index_t>(narrow_[i]);
  }
  byte_range bytes() const {
    const auto count = static_cast<std::size_t>(size_);
    return wide_ != nullptr ? byte_range::of(wide_, count * sizeof *wide_)
                            : byte_range::of(narrow_, count * sizeof *narrow_);
  }

 private:
  // may_alias: std::int64_t may be long while the caller's type is long long.
  using wide_type RELPOS_MAY_ALIAS = std::int64_t;

  const wide_type* wide_ = nullptr;
  const std::int32_t* narrow_ = nullptr;
  index_t size_ = 0;
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
