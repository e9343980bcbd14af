#pragma once
// The merge of states that ranks have computed over their own keys: for decode over a cache that is
// spread over ranks.

#include <mpi.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include "relpos/call/scale.hpp"
#include "relpos/check/call.hpp"
#include "relpos/merge.hpp"
#include "relpos/mpi/agreement.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

// A row on its way is d_v outputs, lse and the sink logit that its state has counted.

/// The state of packed rows, and the sinks behind it.
inline partial_state packed_rows(float* data, index_t rows, index_t value_dim) {
  const index_t stride = value_dim + 2;
  return {view<float, 4>(data, {1, 1, rows, value_dim}, {0, 0, stride, 1}),
          view<float, 3>(data + value_dim, {1, 1, rows}, {0, 0, stride})};
}

/// An MPI_User_function: merges rows of a datatype of d_v + 2 floats.
inline void merge_packed_rows(void* from, void* into, int* rows, MPI_Datatype* row) {
  int bytes = 0;
  MPI_Type_size(*row, &bytes);
  const index_t value_dim = bytes / static_cast<int>(sizeof(float)) - 2;
  const auto* const sinks = static_cast<const float*>(from) + value_dim + 1;
  const partial_state result = packed_rows(static_cast<float*>(into), *rows, value_dim);
  const partial_state added = packed_rows(static_cast<float*>(from), *rows, value_dim);
  for (index_t i = 0; i < *rows; ++i) {
    merge_row(result, added, sinks[i * (value_dim + 2)], 0, 0, i);
  }
}

/// Refuses states whose shapes, or sinks, differ between ranks. Collective. `sinks` is a hash.
inline status check_same_state(MPI_Comm communicator, const status& own,
                               const std::array<index_t, 4>& shape, index_t sinks) {
  std::array<index_t, 11> extremes{own ? 0 : 1};
  for (std::size_t i = 0; own && i < 5; ++i) {
    extremes[1 + i] = i < 4 ? shape[i] : sinks;
    extremes[6 + i] = -extremes[1 + i];
  }
  MPI_Allreduce(MPI_IN_PLACE, extremes.data(), 11, MPI_INT64_T, MPI_MAX, communicator);
  if (!own) return own;
  if (extremes[0] != 0) {
    return status::error(status_code::invalid_value, "state: another rank has refused its own");
  }
  for (std::size_t i = 0; i < 5; ++i) {
    if (extremes[1 + i] == -extremes[6 + i]) continue;
    if (i == 4) {
      return status::error(status_code::invalid_value, "sinks: ranks have different ones");
    }
    return status::error(status_code::invalid_shape,
                         "state.out: shape is %s, but axis %d is from %lld to %lld on other ranks",
                         shape_text(shape).text, static_cast<int>(i),
                         static_cast<long long>(-extremes[6 + i]),
                         static_cast<long long>(extremes[1 + i]));
  }
  return {};
}

/// @addtogroup mpi
/// @{

/// Merges the states that ranks have computed for the same queries over their own keys.
///
/// Collective; each rank's `state` becomes the result over the keys of all ranks, by a reduction of
/// MPI in the order of ranks. Which states it merges first is MPI's choice, by the number of ranks
/// and rows. `state` is what `partial`, or `attention` over a cache with options.lse, has written;
/// it has no statistics. `sinks`, if the call had some, are the same `sink_logits` or
/// `row_sink_logits`. `computed` is what that call returned: if it failed on one rank, all ranks get
/// a failure and none waits.
///
/// @snippet spread_cache.cpp decode
template <class... Sinks>
  requires(sizeof...(Sinks) <= 1 && (has_sink<head_policy_of<Sinks>> && ... && true))
status merge(MPI_Comm communicator, const status& computed, const partial_state& state,
             const Sinks&... sinks) {
  const auto& shape = state.out.shape;
  index_t rows = 0;
  const std::tuple<Sinks...> policies(sinks...);
  std::vector<float> packed;
  std::uint64_t sinks_hash = 0;
  const auto for_each_row = [&](const auto& use) {
    float* row = packed.data();
    for (index_t batch = 0; batch < shape[0]; ++batch) {
      for (index_t head = 0; head < shape[1]; ++head) {
        for (index_t i = 0; i < shape[2]; ++i, row += shape[3] + 2) use(batch, head, i, row);
      }
    }
  };
  const auto check = [&] {
    if (!computed) return computed;
    if (state.statistics.any()) {
      return status::error(status_code::invalid_value,
                           "state.statistics: must be absent, only out and lse are merged");
    }
    if (status valid = check_output("state.out", state.out); !valid) return valid;
    if (status valid = check_output("state.lse", state.lse); !valid) return valid;
    const std::array<index_t, 3> expected{shape[0], shape[1], shape[2]};
    if (state.lse.shape != expected) {
      return shapes_differ("state.lse: shape is %s, must be %s", state.lse.shape, expected);
    }
    rows = shape[0] * shape[1] * shape[2];
    if (rows > std::numeric_limits<int>::max() || shape[3] > std::numeric_limits<int>::max() / 8) {
      return status::error(status_code::invalid_shape,
                           "state.out: shape %s has more than 2^31 - 1 rows, or 2^28 - 1 channels",
                           shape_text(shape).text);
    }
    const attention_shape sizes{.batch = shape[0],
                                .query_heads = shape[1],
                                .query_length = shape[2],
                                .value_dim = shape[3]};
    if (status valid = check_policies(policies, sizes); !valid) return valid;
    packed.resize(static_cast<std::size_t>(rows * (shape[3] + 2)));
    for_each_row([&](index_t batch, index_t head, index_t i, float* row) {
      for (index_t c = 0; c < shape[3]; ++c) row[c] = state.out(batch, head, i, c);
      row[shape[3]] = state.lse(batch, head, i);
      row[shape[3] + 1] = sink_logit(bind_all(policies, batch, head), i);
      sinks_hash = sinks_hash * 0x100000001b3u + std::bit_cast<std::uint32_t>(row[shape[3] + 1]);
    });
    return status();
  };
  const status own = guarded(check);
  if (status valid =
          check_same_state(communicator, own, shape, static_cast<index_t>(sinks_hash >> 1));
      !valid) {
    return valid;
  }
  MPI_Datatype row_type = MPI_DATATYPE_NULL;
  MPI_Type_contiguous(static_cast<int>(shape[3] + 2), MPI_FLOAT, &row_type);
  MPI_Type_commit(&row_type);
  MPI_Op merging = MPI_OP_NULL;
  MPI_Op_create(merge_packed_rows, 0, &merging);
  const int sent = MPI_Allreduce(MPI_IN_PLACE, packed.data(), static_cast<int>(rows), row_type,
                                 merging, communicator);
  MPI_Op_free(&merging);
  MPI_Type_free(&row_type);
  if (sent != MPI_SUCCESS) {
    return status::error(status_code::device, "MPI: the reduction failed with code %d", sent);
  }
  for_each_row([&](index_t batch, index_t head, index_t i, const float* row) {
    const bool saw_a_key = row[shape[3]] != -std::numeric_limits<float>::infinity();
    for (index_t c = 0; c < shape[3]; ++c) {
      state.out(batch, head, i, c) = saw_a_key ? row[c] : 0.0f;
    }
    state.lse(batch, head, i) = row[shape[3]];
  });
  return {};
}

/// @}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
