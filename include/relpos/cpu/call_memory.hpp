#pragma once
// The part of a call's workspace that has the same layout for all policies: the plan, key norms,
// states of the chunks that decode merges, and one workspace per worker. Only the states, one per
// query row and 1024 keys, grow with query length x key length.

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>

#include "relpos/call/call_sequences.hpp"
#include "relpos/call/table_sets.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cpu/decode/workspace.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/cpu/prefill/workspace.hpp"
#include "relpos/cpu/work_plan.hpp"
#include "relpos/stage/softmax.hpp"

namespace relpos::inline RELPOS_ABI {

/// The properties of a call's policies that determine its workspace.
struct call_needs {
  bool implicit_positions;
  bool key_norms;
  bool rotation;
  bool rotates_by_tile;
  bool rotates_keys;
  bool multiplies_pairs;
  index_t mixed_terms;  // tables of all mixed biases, for one head
};

template <class Isa>
class call_memory {
 public:
  call_memory(arena& memory, const call_sequences& call, index_t workers, const call_needs& needs)
      : shape_(call.shape),
        needs_(needs),
        workers_(workers),
        plan_(memory, call.shape.batch),
        rotates_by_worker_(needs.rotates_keys && !needs.key_norms &&
                           work_plan::can_bundle_key_heads<Isa>(call, workers)),
        sets_(call, needs.implicit_positions) {
    for (index_t piece = 0; piece < resident_rows::pieces; ++piece) {
      const index_t rows = call.longest_piece(piece);
      if (piece == 0 || rows > 0) tiles_of_piece_[at(piece)] = key_tiles<Isa>::capacity(rows);
    }
    if (needs.key_norms) {
      key_norms_ = memory.take<float>(shape_.batch * shape_.key_heads * tiles_of_head());
    }
    index_t states = 0;
    for (index_t sequence = 0; sequence < shape_.batch; ++sequence) {
      const attention_shape sequence_shape = call.shape_of(sequence);
      if (!is_decoded(call.opts, sequence_shape)) continue;
      const std::optional<index_t> selected = call.longest_selection();
      states += sequence_shape.query_heads * sequence_shape.query_length *
                (selected ? ceil_div(*selected, decode_geometry::chunk_keys)
                          : decode_geometry::chunk_capacity(call.resident_of(sequence)));
    }
    if (states > 0) states_ = chunk_states(memory, states, shape_.value_dim);
    // Each worker may run either kernel: the size would hardly be smaller if options chose one.
    arena prefill;
    prefill_workspace<Isa>(prefill, shape_, needs.rotation, needs.rotates_by_tile,
                           needs.multiplies_pairs, needs.mixed_terms);
    arena decode;
    decode_workspace<Isa>(decode, shape_, needs.rotation, needs.rotates_by_tile);
    bytes_per_worker_ = static_cast<index_t>(std::max(prefill.bytes_taken(), decode.bytes_taken()));
    worker_memory_ = memory.take<std::byte>(workers * bytes_per_worker_);
  }

  const work_plan& plan() const { return plan_; }
  index_t workers() const { return workers_; }
  /// Whether each worker rotates the keys of the head that it computes: the keys then come from
  /// memory once. Otherwise `preparation` rotates the keys of all heads.
  bool rotates_by_worker() const { return rotates_by_worker_; }
  const table_sets& sets() const { return sets_; }

  /// The number of key tiles of one head, in all pieces. The tiles of piece 0 come first.
  index_t tiles_of_head() const {
    return std::accumulate(tiles_of_piece_.begin(), tiles_of_piece_.end(), index_t{0});
  }
  index_t tiles_of_piece(index_t piece) const { return tiles_of_piece_[at(piece)]; }
  /// The largest key norm of each tile of a piece, [tiles_of_piece(piece)].
  float* key_norms(index_t sequence, index_t key_head, index_t piece) const {
    const index_t first_tile = piece == 0 ? 0 : tiles_of_piece_[0];
    return key_norms_ + (sequence * shape_.key_heads + key_head) * tiles_of_head() + first_tile;
  }
  const chunk_states& states() const { return states_; }

  prefill_workspace<Isa> prefill_workspace_of(index_t worker) const {
    arena memory(memory_of_worker(worker));
    return prefill_workspace<Isa>(memory, shape_, needs_.rotation, needs_.rotates_by_tile,
                                  needs_.multiplies_pairs, needs_.mixed_terms);
  }
  decode_workspace<Isa> decode_workspace_of(index_t worker) const {
    arena memory(memory_of_worker(worker));
    return decode_workspace<Isa>(memory, shape_, needs_.rotation, needs_.rotates_by_tile);
  }

 protected:
  const attention_shape& shape() const { return shape_; }

 private:
  static constexpr std::size_t at(index_t piece) { return static_cast<std::size_t>(piece); }
  workspace memory_of_worker(index_t worker) const {
    return workspace(worker_memory_ + worker * bytes_per_worker_,
                     static_cast<std::size_t>(bytes_per_worker_));
  }

  attention_shape shape_;
  call_needs needs_;
  index_t workers_;
  work_plan plan_;
  bool rotates_by_worker_;
  table_sets sets_;
  std::array<index_t, static_cast<std::size_t>(resident_rows::pieces)> tiles_of_piece_{};
  float* key_norms_ = nullptr;  // [sequences][key heads][key tiles]
  chunk_states states_;
  std::byte* worker_memory_ = nullptr;
  index_t bytes_per_worker_ = 0;
};

}  // namespace relpos::inline RELPOS_ABI
