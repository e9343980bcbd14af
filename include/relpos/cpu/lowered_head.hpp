#pragma once
// The interface between a call and the kernels: one key head of one sequence, as data and a few
// virtual functions.
//
// Policies, kv sources and outputs have types of their own, and kernels that depend on these types
// would be compiled again for each combination. So each work item lowers its call to this interface
// once (policy_head.hpp). A virtual function is called for a group of queries or a tile of keys,
// never for a key, and costs nothing there. Only two types of a call reach a tile loop, because
// they must be inlined there: the biases, and the element masks (policies with `keep`).

#include "relpos/call/block_rotors.hpp"
#include "relpos/call/resident_rows.hpp"
#include "relpos/call/row_statistics.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/call/selected_rows.hpp"
#include "relpos/contract/bias_bound.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"
#include "relpos/cpu/decode/geometry.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/cpu/prefill/key_tile.hpp"
#include "relpos/cpu/prefill/mask_stage.hpp"
#include "relpos/rows/output_rows.hpp"

namespace relpos::inline RELPOS_ABI {

struct decode_query_rows;

/// A row whose largest exponent is below this sees no key, or has biases that float32 cannot tell
/// apart (extreme_row.hpp).
inline constexpr float extreme_exponent = -0x1p120f;

/// The data of a head that a kernel reads.
struct head_facts {
  index_t key_head;
  attention_shape shape;  // of the sequence
  positions position;
  resident_rows resident;
  index_t pieces;  // number of pieces of `resident`
  float scale;
  float softcap;
  float tolerance;
  output_rows out;
  view<float, 3> lse;  // null if not requested
  const row_statistics& statistics;
  bool has_bias;
  bool masks_elements;   // there are element masks besides a selection
  bool rotates_by_tile;  // queries are rotated to the block of a tile's keys
  bool bounds_scores;    // `largest_bias` may skip tiles
};

/// The data and functions of one key head. The argument `head` of the functions is a query head.
template <class Isa>
struct lowered_head : head_facts {
  virtual float temperature(index_t head) const = 0;
  /// Writes the sinks of `count` query rows from `first` on as exponents, base 2; -inf without a
  /// sink.
  virtual void find_sinks(index_t head, index_t first, index_t count, float* sinks) const = 0;
  /// Finds `count` query rows from `first` on. A rotating policy rotates them by their offset in
  /// the block, or to their full position if positions are explicit. `buffer` receives the rows
  /// that are not in place.
  virtual void find_queries(index_t head, index_t first, index_t count, float* buffer,
                            const float** rows) const = 0;
  /// The rotors from queries to keys of a piece; empty unless `rotates_by_tile`.
  virtual block_rotors rotors(index_t piece) const = 0;

  // Functions of prefill.

  /// Finds the rows `range` of keys and values.
  virtual void find_tile(const key_range& range, const tile_buffers& buffers,
                         key_tile<Isa, float>& tile) const = 0;
  /// The same for products of pairs; called if the call has them.
  virtual void find_tile(const key_range& range, const tile_buffers& buffers,
                         key_tile<Isa, bfloat16_pair>& tile) const = 0;
  /// Lets `tile` fetch the rows `next` of keys and values, which are probably the next tile.
  virtual void expect_keys(const key_range& next, tile_places<Isa>& tile) const = 0;
  /// Lets `tile` fetch what the next block of queries reads first.
  virtual void expect_next_block(tile_places<Isa>& tile) const = 0;
  /// The largest key norm of each tile of a piece; valid if `bounds_scores`.
  virtual const float* key_norms(index_t piece) const = 0;
  /// A bound on the biases between the queries of a group and a range of key rows, in units of the
  /// exponent.
  virtual bias_bound largest_bias(index_t head, const group_rows& rows, const key_range& keys,
                                  float factor) const = 0;
  /// Overwrites a row if all its biases are near the lowest float (extreme_row.hpp).
  virtual void attend_extreme_row(index_t head, index_t row, float* buffer) const = 0;

  // Functions of decode.

  /// Writes the key rows that range masks leave to each of `count` query rows from `first` on.
  virtual void find_visible(index_t head, index_t first, index_t count,
                            key_range* visible) const = 0;
  /// The key rows that a query row selects. Called if the geometry has blocks_of_query.
  virtual selected_rows selected(index_t row) const = 0;
  /// The class that element masks, without the selection, give to a range of key rows for one row.
  virtual tile_class classify_elements_of(index_t head, index_t row,
                                          const key_range& keys) const = 0;
  /// Runs the stages after the product on the scores of rows and the keys of a tile,
  /// [row][tile_keys]: softcap, biases, cap, row factors, masks. `seen` receives the class of the
  /// tile for each row. If the rows have a selection, the keys are places of its list.
  virtual void finish_scores(const decode_query_rows& rows, const key_lanes& keys, float* scores,
                             tile_class* seen) const = 0;

  score_factors factors_of(index_t head) const { return {scale, softcap, temperature(head)}; }

 protected:
  explicit lowered_head(const head_facts& facts) : head_facts(facts) {}
  ~lowered_head() = default;
};

/// A lowered_head for prefill, whose tile loops inline these biases and masks. `Biases` is a tuple
/// of stages in argument order, then the cap and row factors.
template <class Isa, class Biases, class ElementMasks>
struct staged_head : lowered_head<Isa> {
  virtual mask_stage<Isa, ElementMasks> masks(index_t head, const group_rows& rows) const = 0;
  virtual Biases biases(index_t head, float factor, const group_rows& rows,
                        index_t piece) const = 0;

 protected:
  explicit staged_head(const head_facts& facts) : lowered_head<Isa>(facts) {}
  ~staged_head() = default;
};

}  // namespace relpos::inline RELPOS_ABI
