// One step of decoding through the caches of 40 layers, which lie in pages behind one block table,
// on one thread.
//
// The row "checks and finding rows" is the time of checking the caches (in append and in attention)
// and of finding all their rows through the table, over the time of the step. The row "reserving
// pages" is the time of page_pool::reserve for all layers, over the time of the step.

#include <algorithm>
#include <cmath>
#include <vector>

#include "aligned_array.hpp"
#include "candidate.hpp"
#include "interleaved.hpp"
#include "sections.hpp"

namespace relpos::bench {
namespace {

constexpr index_t layers = 40;
constexpr index_t heads = 32;
constexpr index_t key_heads = 8;
constexpr index_t head_dim = 128;
constexpr index_t page_rows = 16;

/// The caches hold `length` - 1 rows; a step appends one to each and attends to all.
class model {
 public:
  explicit model(index_t length)
      : pages_(length / page_rows),
        pool_(pages_),
        table_(static_cast<std::size_t>(pages_)),
        row_(static_cast<std::size_t>(heads * head_dim), 0.5f),
        out_(row_.size()) {
    memory_.resize(static_cast<std::size_t>(layers));
    lengths_.assign(memory_.size(), 0);
    const std::array<index_t, 4> shape{pages_, key_heads, page_rows, head_dim};
    const auto size = static_cast<std::size_t>(key_heads * length * head_dim);
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      memory_[i].keys.resize(size);
      memory_[i].values.resize(size);
      std::fill(memory_[i].keys.begin(), memory_[i].keys.end(), bfloat16(0.25f));
      // All values of a layer are equal, so that its output is that value whatever the weights.
      std::fill(memory_[i].values.begin(), memory_[i].values.end(), value_of(i));
      caches_.push_back({{view<bfloat16, 4>(memory_[i].keys.data(), shape),
                          view<bfloat16, 4>(memory_[i].values.data(), shape)},
                         std::span<index_t>(&lengths_[i], 1),
                         {view<std::int32_t, 2>(table_.data(), {1, pages_})}});
    }
    check(pool_.reserve(caches_, 0, length));
    std::fill(lengths_.begin(), lengths_.end(), length);
    workspace_.resize(workspace_bytes(serial(), q(), caches_[0], causal()));
    std::fill(lengths_.begin(), lengths_.end(), length - 1);
  }

  void step() {
    reserve();
    for (std::size_t i = 0; i < caches_.size(); ++i) {
      const auto number = static_cast<float>(value_of(i));
      std::fill(row_.begin(), row_.end(), number);
      check(append(serial(), caches_[i], new_row(), new_row()));
      check(attention(serial(), workspace_, out(), q(), caches_[i], causal()));
      if (std::abs(out_.front() - number) > 1e-3f * number)
        fail("decode of 40 layers: wrong output");
    }
    for (index_t& length : lengths_) --length;
  }

  void reserve() { check(pool_.reserve(caches_, 0, lengths_[0] + 1)); }

  /// Checks each cache twice, as append and attention do.
  void check_caches() const {
    for (const auto& cache : caches_) {
      check(cache.check());
      check(cache.check());
    }
  }

  /// Finds the rows of every tile of keys and of values.
  void find_rows() const {
    const bfloat16* rows[decode_geometry::tile_keys];
    for (const auto& cache : caches_) {
      for (index_t head = 0; head < key_heads; ++head) {
        const auto find = [&](const auto& source) {
          for (index_t row = 0; row < cache.length(0); row += decode_geometry::tile_keys) {
            source.find(row, std::min(decode_geometry::tile_keys, cache.length(0) - row), rows);
            const bfloat16* volatile keep = rows[0];
            (void)keep;
          }
        };
        find(cache.template keys<native>(0, head));
        find(cache.template values<native>(0, head));
      }
    }
  }

 private:
  struct layer_memory {
    aligned_array<bfloat16> keys, values;
  };
  static bfloat16 value_of(std::size_t layer) { return bfloat16(static_cast<float>(layer + 1)); }
  static void check(const status& done) {
    if (!done) fail(done.message);
  }
  view<const float, 4> q() const { return {row_.data(), {1, heads, 1, head_dim}}; }
  view<const float, 4> new_row() const { return {row_.data(), {1, key_heads, 1, head_dim}}; }
  view<float, 4> out() { return {out_.data(), {1, heads, 1, head_dim}}; }

  index_t pages_;
  page_pool pool_;
  std::vector<std::int32_t> table_;
  std::vector<float> row_, out_;
  std::vector<layer_memory> memory_;
  std::vector<index_t> lengths_;
  std::vector<paged_cache<bfloat16>> caches_;
  std::vector<std::byte> workspace_;
};

}  // namespace

void serving_layers(const effort& how, report& to) {
  to.begin("decode step of 40 layers over pages: shares of its time", "part");
  const index_t length = 4096;
  model of(length);
  const auto seconds = interleaved_seconds({[&] { of.step(); }, [&] { of.check_caches(); },
                                            [&] { of.find_rows(); }, [&] { of.reserve(); }},
                                           how.turns);
  const auto add = [&](const char* name, double ratio) {
    to.add({.head_dim = head_dim,
            .length = length,
            .encoding = "none",
            .setting = name,
            .ratio = ratio});
  };
  add("checks and finding rows", (seconds[1] + seconds[2]) / seconds[0]);
  add("reserving pages", seconds[3] / seconds[0]);
}

}  // namespace relpos::bench
