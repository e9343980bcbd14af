#pragma once
// A variant that reads texts: all of its layers.

#include <array>
#include <functional>
#include <optional>
#include <string_view>

#include "variant.hpp"

namespace extrapolation {

/// The projections of a layer. Keys and values have the shape and strides of `q`.
struct layer_inputs {
  long layer;
  const matrix& qkv;  // [length, 3 * width]
  relpos::view<const float, 4> q, k, v;
};

class reader {
 public:
  /// For texts of up to `length` bytes. The variant and the model outlive the reader.
  reader(const variant& of, const language_model& model, long length);

  /// The hidden states [byte, width] behind the last layer, normalised. Calls `before_attention`,
  /// if given, in every layer; it may change the layer's temperatures.
  matrix read(std::string_view text,
              const std::function<void(const layer_inputs&)>& before_attention = {});

  /// The hidden states of text that goes on behind the texts that read_on had before: their keys
  /// and values are in a cache of `length` rows.
  matrix read_on(std::string_view text);

  /// The logits [row, byte] of the bytes behind some rows of hidden states.
  matrix logits(const matrix& states) const { return states * model_.embedding.transpose(); }

  /// Calls use(policies...) with the policies of a layer.
  template <class Use>
  void with_layer_policies(long layer, const matrix& qkv, const Use& use) const {
    with_policies(of_, model_, layer, qkv, rotation_ ? &*rotation_ : nullptr,
                  temperatures_[static_cast<std::size_t>(layer)], use);
  }

  temperatures& layer_temperatures() { return temperatures_; }

 private:
  struct layer_cache {
    std::vector<float> keys, values;  // [heads, length, head_dim]
    std::vector<relpos::index_t> rows{0};
  };

  template <class Attend>
  matrix states_of(std::string_view text, long first_position, const Attend& attend);
  template <class Call>
  void run(const Call& call);

  const variant& of_;
  const language_model& model_;
  long length_;
  std::optional<relpos::rotary_table> rotation_;
  temperatures temperatures_;
  std::array<layer_cache, layers> caches_;
  std::vector<std::byte> memory_;
};

}  // namespace extrapolation
