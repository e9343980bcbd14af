#pragma once
// The merge of the states that decode blocks stored for the chunks of a row's keys
// (stage/softmax.hpp). Its order does not depend on the rest of the batch. A block merges one row.

#include <limits>
#include <type_traits>

#include "relpos/core/math.hpp"
#include "relpos/cuda/fragment/convert.hpp"
#include "relpos/cuda/params.hpp"
#include "relpos/stage/softmax.hpp"

namespace relpos::inline RELPOS_ABI {

struct decode_merge_geometry {
  static constexpr int warps = 4;
  static constexpr int threads = warps * warp_lanes;
};

template <int HeadDim>
struct decode_merge_shared_storage {
  float outputs[decode_merge_geometry::warps][HeadDim];
};

/// Writes out and lse of row `row` of a sequence and query head.
template <int HeadDim, class Arch, class Call>
RELPOS_DEVICE void merge_decoded_row(Arch& arch, const Call& call, index_t sequence_index,
                                     index_t query_head, index_t row) {
  using out_type = std::remove_reference_t<decltype(call.out(0, 0, 0, 0))>;
  using geometry = decode_merge_geometry;
  constexpr float nothing = -std::numeric_limits<float>::infinity();
  constexpr int lane_channels = HeadDim / warp_lanes;
  const device_sequence& sequence = call.sequences[sequence_index];
  auto& memory = *reinterpret_cast<decode_merge_shared_storage<HeadDim>*>(arch.shared());
  const int lane = arch.thread() % warp_lanes;
  const int warp = arch.thread() / warp_lanes;
  const auto exp2 = [&](float x) { return arch.exp2(x); };
  const auto state = [&](index_t chunk) {
    return call.states.at(sequence.state_of(query_head, row, chunk));
  };

  // The absolute position of a chunk decides which lane and which warp takes it, because other rows
  // of the sequence may see more chunks.
  const auto first_of = [&](int place, int places) {
    const index_t distance = place - sequence.first_chunk;
    return distance - floor_div(distance, places) * places;
  };

  // All warps compute the same sum.
  const float sink = call.head(sequence_index, query_head).sink * log2e;
  float top = relpos::max(sink, no_maximum);
  for (index_t chunk = first_of(lane, warp_lanes); chunk < sequence.chunks; chunk += warp_lanes) {
    if (*state(chunk).sum != 0.0f) top = relpos::max(*state(chunk).maximum, top);
  }
  for (int other = 1; other < warp_lanes; other *= 2) {
    top = relpos::max(arch.shuffle_xor(top, other), top);
  }
  float total = 0.0f;
  for (index_t chunk = first_of(lane, warp_lanes); chunk < sequence.chunks; chunk += warp_lanes) {
    const chunk_state part = state(chunk);
    total += *part.sum * state_weight(exp2, *part.maximum, *part.sum, top);
  }
  for (int other = 1; other < warp_lanes; other *= 2) total += arch.shuffle_xor(total, other);
  if (sink != nothing) total += arch.exp2(sink - top);

  float outputs[lane_channels] = {};
  for (index_t chunk = first_of(warp, geometry::warps); chunk < sequence.chunks;
       chunk += geometry::warps) {
    const chunk_state part = state(chunk);
    if (*part.sum == 0.0f) continue;
    const float weight = exp2(*part.maximum - top);
    unroll<lane_channels>(
        [&](auto i) RELPOS_LAMBDA { outputs[i] += weight * part.outputs[i * warp_lanes + lane]; });
  }
  unroll<lane_channels>(
      [&](auto i) RELPOS_LAMBDA { memory.outputs[warp][i * warp_lanes + lane] = outputs[i]; });
  arch.sync();
  const index_t tensor_row = sequence.queries.first + row;
  for (int channel = arch.thread(); channel < HeadDim; channel += geometry::threads) {
    float sum = 0.0f;
    for (const auto& part : memory.outputs) sum += part[channel];
    call.out(sequence.queries.batch, query_head, tensor_row, channel) =
        narrow<out_type>(arch, total == 0.0f ? 0.0f : sum / total);
  }
  if (call.lse.data != nullptr && arch.thread() == 0) {
    call.lse(sequence.queries.batch, query_head, tensor_row) = lse_of(top, total);
  }
}

}  // namespace relpos::inline RELPOS_ABI
