#pragma once
// What the kernels know of a call: one key head of one sequence, in numbers and in the answers to a
// few questions.
//
// Policies, stores and outputs have types of their own, and a kernel for each combination of them
// would be compiled again and again. So a call is lowered to this once per work item
// (policy_head.hpp). What is asked is asked for a group of queries or a tile of keys, never for a
// key: there a call through a pointer costs nothing. Of the types of a call two things reach a tile
// loop, because they must be inlined there: the biases, and the masks that ask for elements.

#include "relpos/call/block_rotors.hpp"
#include "relpos/call/resident_rows.hpp"
#include "relpos/call/row_statistics.hpp"
#include "relpos/call/scale.hpp"
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

/// What a kernel reads of a head.
struct head_facts {
  index_t key_head;
  attention_shape shape;  // of the sequence
  positions position;
  resident_rows resident;
  index_t pieces;  // of them
  float scale;
  float softcap;
  float tolerance;
  output_rows out;
  view<float, 3> lse;  // null where not asked for
  const row_statistics& statistics;
  bool has_bias;
  bool masks_elements;   // of tiles that range masks show
  bool rotates_by_tile;  // queries, to the block of a tile's keys
  bool bounds_scores;    // tiles may be left out because of `largest_bias`
};

/// Facts and questions of one key head. The heads that a question names are query heads.
template <class Isa>
struct lowered_head : head_facts {
  virtual float temperature(index_t head) const = 0;
  /// An exponent, base 2; -inf without a sink.
  virtual float sink(index_t head) const = 0;
  /// `count` query rows from `first` on, rotated by their offset in the block, or all the way.
  /// `buffer` holds those that are not in place.
  virtual void find_queries(index_t head, index_t first, index_t count, float* buffer,
                            const float** rows) const = 0;
  /// The rotors of queries to keys of a piece, where `rotates_by_tile`.
  virtual block_rotors rotors(index_t piece) const = 0;

  // Questions of prefill.

  /// Rows `range` of keys and values, and where in place those that are probably next.
  virtual void find_tile(const key_range& range, const key_range& next, key_tile<Isa>& tile,
                         float* key_buffer, float* value_buffer) const = 0;
  /// The largest norm of each tile of keys of a piece, where `bounds_scores`.
  virtual const float* key_norms(index_t piece) const = 0;
  /// The largest bias between a group's queries and these rows of keys, in units of the exponent.
  virtual bias_bound largest_bias(index_t head, const group_rows& rows, const key_range& keys,
                                  float factor) const = 0;
  /// Writes a row again if all its biases are near the lowest float.
  virtual void attend_extreme_row(index_t head, index_t row, float* buffer) const = 0;

  // Questions of decode.

  /// What range masks leave to each of `count` query rows from `first` on.
  virtual void find_visible(index_t head, index_t first, index_t count, key_range* to) const = 0;
  /// What masks of elements say of one row and a range of keys.
  virtual tile_class classify_elements_of(index_t head, index_t row,
                                          const key_range& keys) const = 0;
  /// Does what follows the products of rows with the keys of a tile, scores [row][tile_keys]:
  /// softcap, biases, the factors of the rows, and hides what masks hide. `seen` says of each row
  /// what they leave of the tile.
  virtual void finish_scores(const decode_query_rows& rows, const key_lanes& keys, float* scores,
                             tile_class* seen) const = 0;

  score_factors factors_of(index_t head) const { return {scale, softcap, temperature(head)}; }

 protected:
  explicit lowered_head(const head_facts& facts) : head_facts(facts) {}
  ~lowered_head() = default;
};

/// The same for prefill, whose tile loops have these biases and masks inlined:
/// `Biases` is a tuple of stages in argument order, row factors last.
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
