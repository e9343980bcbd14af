#pragma once
// The GPU's requirements of a call, beyond the requirements of every call. The host checks them
// before it launches anything.

#include <cstdint>
#include <type_traits>

#include "relpos/call/arguments.hpp"
#include "relpos/check/call.hpp"
#include "relpos/cuda/arch/arch.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup gpu
/// @{

/// Head dimensions that kernels are compiled for: 64, 96, 128, 256.
///
/// Naming only the dimensions that occur saves compile time.
///
/// @snippet gpu.cu attention
template <int... Dims>
struct head_dims {
  static_assert(((Dims == 64 || Dims == 96 || Dims == 128 || Dims == 256) && ...),
                "relpos: on a GPU head_dim is 64, 96, 128 or 256");

  /// @privatesection Calls read these members.
  static constexpr bool has(index_t head_dim) { return ((head_dim == Dims) || ...); }

  /// Calls use(std::integral_constant<int, head_dim>()).
  template <class Use>
  static void with(index_t head_dim, const Use& use) {
    ((head_dim == Dims ? use(std::integral_constant<int, Dims>()) : void()), ...);
  }
};
/// All head dimensions, the default.
using all_head_dims = head_dims<64, 96, 128, 256>;

/// @}

/// Refuses policies that GPUs lack, when it compiles.
template <class T, class... Arguments>
constexpr bool check_device_arguments() {
  static_assert(
      multiplied<std::remove_const_t<T>>,
      "relpos: on a GPU q, k and v hold float, relpos::half or relpos::bfloat16, all the same");
  static_assert(check_arguments<Arguments...>());
  static_assert(!(has_sink_of_rows<head_policy_of<Arguments>> || ... || false),
                "relpos: on a GPU sinks are of heads, not of rows");
  static_assert(!(mixes_bias<Arguments> || ... || false),
                "relpos: a bias of several terms is computed on the CPU only");
  static_assert(!(has_key_terms<head_policy_of<Arguments>> || ... || false),
                "relpos: a bias of numbers per key is computed on the CPU only");
  static_assert(!(caps_after_bias<head_policy_of<Arguments>> || ... || false),
                "relpos: a softcap after the bias is computed on the CPU only");
  static_assert(!(reads_axis<Arguments> || ... || false),
                "relpos: a bias on another axis is computed on the CPU only");
  static_assert(!(selects_keys<Arguments> || ... || false),
                "relpos: selected keys are read on the CPU only");
  return true;
}

/// Refuses rows that cannot be copied in pieces of 16 bytes: channels must be contiguous, and rows
/// must begin at multiples of 16 bytes.
template <class T>
status check_pieces(const char* name, const view<T, 4>& rows) {
  constexpr index_t piece = 16 / static_cast<index_t>(sizeof(T));
  if (rows.size() == 0) return {};
  if (rows.strides[3] != 1) {
    return status::error(status_code::invalid_stride,
                         "%s: channels must be contiguous on a GPU, strides are %s", name,
                         shape_text(rows.strides).text);
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (rows.shape[axis] <= 1 || rows.strides[axis] % piece == 0) continue;
    return status::error(status_code::invalid_stride,
                         "%s: strides must be multiples of %lld elements on a GPU, strides are %s",
                         name, static_cast<long long>(piece), shape_text(rows.strides).text);
  }
  if (reinterpret_cast<std::uintptr_t>(rows.data) % 16 == 0) return {};
  return status::error(status_code::invalid_stride,
                       "%s: data must be aligned to 16 bytes on a GPU, shape is %s", name,
                       shape_text(rows.shape).text);
}

/// Refuses a call that the kernels do not serve: a head_dim that is not in `Dims`, a value_dim
/// other than head_dim, more than 65535 sequences or heads, and rows that check_pieces refuses.
template <class Dims = all_head_dims, class T>
status check_device_call(const view<T, 4>& q, const view<T, 4>& k, const view<T, 4>& v,
                         const options& opts) {
  if (!Dims::has(q.shape[3])) {
    return status::error(
        status_code::invalid_shape,
        "q: head_dim must be 64, 96, 128 or 256 on a GPU, and one of the call's head_dims, q is %s",
        shape_text(q.shape).text);
  }
  if (v.shape[3] != q.shape[3]) {
    return shapes_differ("v: value_dim must be head_dim on a GPU, v is %s, q is %s", v.shape,
                         q.shape);
  }
  const index_t sequences = sequence_count(q.shape[0], opts.query_starts);
  if (sequences > 65535 || q.shape[1] > 65535) {
    return status::error(
        status_code::invalid_shape,
        "q: at most 65535 sequences and 65535 heads on a GPU, there are %lld sequences, q is %s",
        static_cast<long long>(sequences), shape_text(q.shape).text);
  }
  if (status valid = check_pieces("q", q); !valid) return valid;
  if (status valid = check_pieces("k", k); !valid) return valid;
  return check_pieces("v", v);
}

}  // namespace relpos::inline RELPOS_ABI
