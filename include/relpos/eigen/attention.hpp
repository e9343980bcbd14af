#pragma once
// Attention over Eigen tensors [batch, head, position, channel].
//
//   Tensor out = relpos::attention(q, k, v, relpos::alibi{slopes}, relpos::causal{});
//   relpos::attention(device, out, q, k, v, relpos::t5_bias{table, relpos::bidirectional}, ...);
//
// Tensors are RowMajor Tensor or TensorMap of float, Eigen::bfloat16 or Eigen::half, const or not.
// Each may have a type of its own. For other strides, use the view form in attention.hpp, which
// also describes the computation. A refused call throws std::invalid_argument, with the argument's
// name and both shapes, before `out` is written.

#include <unsupported/Eigen/CXX11/Tensor>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "relpos/attention.hpp"
#include "relpos/eigen/executor.hpp"
#include "relpos/eigen/view.hpp"
#include "relpos/kv_cache/append.hpp"

namespace relpos::inline RELPOS_ABI {

/// Anything of Eigen's tensor module, expressions included.
template <class T>
concept eigen_expression =
    std::is_base_of_v<Eigen::TensorBase<std::remove_cvref_t<T>, Eigen::ReadOnlyAccessors>,
                      std::remove_cvref_t<T>>;

/// Refuses expressions and tensors without four axes, when it compiles.
template <class... Tensors>
constexpr bool check_tensors() {
  static_assert(
      (eigen_tensor<Tensors> && ... && true),
      "relpos: tensors are Eigen::Tensor or Eigen::TensorMap; evaluate an expression first");
  if constexpr ((eigen_tensor<Tensors> && ... && true)) {
    static_assert(((view_traits<std::remove_reference_t<Tensors>>::rank == 4) && ... && true),
                  "relpos: q, k, v and out have four axes: [batch, head, position, channel]");
  }
  return true;
}

/// @addtogroup errors
/// @{

/// Throws std::invalid_argument with the message of a status that failed.
inline void throw_unless(const status& done) {
  if (!done) throw std::invalid_argument(std::string("relpos: ") + done.message);
}

/// @}

/// Runs a prepared call, in workspace that it allocates.
template <executor Executor, class Call>
void run_with_workspace(const Executor& runner, const Call& call) {
  const std::size_t bytes = call.workspace_bytes();
  // libc++ 14 has no std::make_unique_for_overwrite.
  const std::unique_ptr<std::byte[]> memory(new std::byte[bytes]);
  throw_unless(call.run(runner, workspace(memory.get(), bytes)));
}

/// @addtogroup attention
/// @{

/// Fills an Eigen tensor `out` [batch, heads, query, d_v] on an Eigen device.
///
/// The device is an Eigen::DefaultDevice or Eigen::ThreadPoolDevice; Eigen defines the second under
/// EIGEN_USE_THREADS. Allocates workspace, linear in the lengths. Throws std::invalid_argument,
/// with the argument's name and both shapes, before `out` is written.
///
/// @snippet threads.cpp device
template <eigen_device Device, eigen_expression Out, eigen_expression Query, eigen_expression Key,
          eigen_expression Value, class... Arguments>
void attention(const Device& device, Out&& out, const Query& q, const Key& k, const Value& v,
               const Arguments&... arguments) {
  static_assert(check_tensors<Out, const Query, const Key, const Value>());
  static_assert(check_arguments<Arguments...>());
  const auto runner = executor_of(device);
  run_with_workspace(runner, relpos::prepare(runner, view_of(out), view_of(q), view_of(k),
                                             view_of(v), arguments...));
}

/// Fills an Eigen tensor `out` from the rows of a cache.
///
/// @snippet token_cache.cpp cache
template <eigen_device Device, eigen_expression Out, eigen_expression Query, kv_source Cache,
          class... Arguments>
void attention(const Device& device, Out&& out, const Query& q, const Cache& cache,
               const Arguments&... arguments) {
  static_assert(check_tensors<Out, const Query>());
  static_assert(check_arguments<Arguments...>());
  const auto runner = executor_of(device);
  run_with_workspace(runner,
                     relpos::prepare(runner, view_of(out), view_of(q), cache, arguments...));
}

/// @}

/// @addtogroup append
/// @{

/// Appends Eigen tensors k [batch, key heads, new row, d] and v to each sequence of a cache. Throws
/// std::invalid_argument if it refuses them.
template <eigen_device Device, kv_source Cache, eigen_expression Key, eigen_expression Value,
          class... Arguments>
void append(const Device& device, const Cache& cache, const Key& k, const Value& v,
            const Arguments&... arguments) {
  static_assert(check_tensors<const Key, const Value>());
  throw_unless(append(executor_of(device), cache, view_of(k), view_of(v), arguments...));
}

/// Appends an Eigen tensor to a cache whose values are the first channels of its keys.
template <eigen_device Device, kv_source Cache, eigen_expression Key, class... Arguments>
void append(const Device& device, const Cache& cache, const Key& k, const Arguments&... arguments) {
  static_assert(check_tensors<const Key>());
  throw_unless(append(executor_of(device), cache, view_of(k), arguments...));
}

/// @}

/// @addtogroup attention
/// @{

/// Attention over Eigen tensors, computed on the calling thread.
///
/// Returns [batch, heads, query, d_v] of q's scalar type. Throws std::invalid_argument if the call
/// is refused.
///
/// @include quick_start.cpp
template <eigen_expression Query, eigen_expression Key, eigen_expression Value, class... Arguments>
auto attention(const Query& q, const Key& k, const Value& v, const Arguments&... arguments) {
  static_assert(check_tensors<const Query, const Key, const Value>());
  using scalar = std::remove_const_t<typename Query::Scalar>;
  Eigen::Tensor<scalar, 4, Eigen::RowMajor> out(q.dimension(0), q.dimension(1), q.dimension(2),
                                                v.dimension(3));
  attention(Eigen::DefaultDevice(), out, q, k, v, arguments...);
  return out;
}

/// @}

/// @addtogroup partial
/// @{

/// Attention over a slice of the keys in Eigen tensors.
///
/// Fills a state, to be merged (`merge`) with the states of the other slices. Positions refer to
/// the whole sequence, so options.query_offset must be given.
///
/// @snippet split_keys.cpp partial
template <eigen_device Device, eigen_expression Query, eigen_expression Key, eigen_expression Value,
          class... Arguments>
void partial(const Device& device, const partial_state& state, const Query& q, const Key& k,
             const Value& v, const Arguments&... arguments) {
  static_assert(check_tensors<const Query, const Key, const Value>());
  const auto runner = executor_of(device);
  run_with_workspace(
      runner, relpos::prepare(runner, state, view_of(q), view_of(k), view_of(v), arguments...));
}

/// Merges `from` into `into` on an Eigen device. Throws std::invalid_argument if they do not fit.
template <eigen_device Device>
void merge(const Device& device, const partial_state& into, const partial_state& from) {
  throw_unless(merge(executor_of(device), into, from));
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
