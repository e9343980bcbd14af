#pragma once
// The storage types of Eigen's scalars. Eigen's 16-bit types have the same bits as the library's.

#include <Eigen/Core>

#include "relpos/core/index.hpp"
#include "relpos/core/storage.hpp"

namespace relpos::inline RELPOS_ABI {

/// The storage type with the bits of an Eigen scalar; void for a scalar that attention does not
/// store.
template <class Scalar>
struct storage_of {
  using type = void;
};
template <cache_storage Stored>
struct storage_of<Stored> {
  using type = Stored;
};
template <>
struct storage_of<index_t> {  // for positions
  using type = index_t;
};
template <>
struct storage_of<std::int32_t> {  // for block tables
  using type = std::int32_t;
};
template <>
struct storage_of<Eigen::bfloat16> {
  using type = bfloat16;
};
template <>
struct storage_of<Eigen::half> {
  using type = half;
};

static_assert(sizeof(Eigen::bfloat16) == sizeof(bfloat16) && sizeof(Eigen::half) == sizeof(half));

}  // namespace relpos::inline RELPOS_ABI
