#pragma once
// Checks that caches are the layers of one model:
//
//   block table, number and rows of pages, rows of a sequence   the same in every layer
//   keys, values, scales and lengths                            separate memory in each layer

#include "relpos/check/shared_bytes.hpp"
#include "relpos/kv_cache/page_layers.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses a layer whose parts do not fit together, or that differs from layer 0 in a common part.
inline status check_page_layer(const page_layers& layers, index_t layer_index, index_t pages,
                               index_t sequence) {
  const page_layer first = layers[0];
  const page_layer layer = layers[layer_index];
  const auto number = static_cast<long long>(layer_index);
  if (status valid = layer.check_memory(); !valid) {
    if (layers.count() == 1) return valid;
    return status::error(valid.code, "layer %lld: %.291s", number, valid.message);
  }
  if (layer.shape()[0] != pages) {
    return status::error(status_code::invalid_shape,
                         "page_pool: has %lld pages, cache.keys of layer %lld are %s",
                         static_cast<long long>(pages), number, shape_text(layer.shape()).text);
  }
  if (layer_index == 0) return layer.check_sequence(sequence);
  if (layer.shape()[2] != first.shape()[2]) {
    return status::error(status_code::invalid_shape,
                         "cache.keys: pages of layer %lld have %lld rows, of layer 0 %lld: they "
                         "are %s and %s",
                         number, static_cast<long long>(layer.shape()[2]),
                         static_cast<long long>(first.shape()[2]), shape_text(layer.shape()).text,
                         shape_text(first.shape()).text);
  }
  if (!layer.has_table_of(first)) {
    return status::error(status_code::invalid_value,
                         "cache.block_table: layer %lld and layer 0 have different tables, "
                         "all layers must share one: they are %s and %s",
                         number, shape_text(layer.block_table().shape).text,
                         shape_text(first.block_table().shape).text);
  }
  if (layer.length(sequence) == first.length(sequence)) return {};
  return status::error(
      status_code::invalid_value,
      "cache.lengths: sequence %lld has %lld rows in layer %lld and %lld in layer 0",
      static_cast<long long>(sequence), static_cast<long long>(layer.length(sequence)), number,
      static_cast<long long>(first.length(sequence)));
}

/// Refuses layers that share memory, because one would overwrite another. Their memory may be
/// interleaved.
inline status check_page_layers_apart(const page_layers& layers) {
  const auto bytes = [](const page_layer& layer) {
    return byte_range::of(layer.lengths().data(), layer.lengths().size_bytes());
  };
  for (index_t i = 1; i < layers.count(); ++i) {
    const page_layer layer = layers[i];
    const auto parts = layer.parts();
    for (index_t j = 0; j < i; ++j) {
      const page_layer other = layers[j];
      if (bytes(layer).overlaps(bytes(other))) {
        return status::error(status_code::overlap,
                             "cache.lengths: layers %lld and %lld share them, append counts the "
                             "rows of each layer",
                             static_cast<long long>(j), static_cast<long long>(i));
      }
      for (const labelled_memory& other_part : other.parts()) {
        for (const labelled_memory& part : parts) {
          if (!part.bytes.overlaps(other_part.bytes)) continue;
          // Refused only if sharing is certain, not if the strides leave it unknown.
          if (sharing_of(part.elements, other_part.elements) != sharing::some) continue;
          return status::error(status_code::overlap,
                               "%s of layer %lld %s and %s of layer %lld %s share memory, each "
                               "layer must have pages of its own",
                               other_part.name, static_cast<long long>(j), other_part.text().text,
                               part.name, static_cast<long long>(i), part.text().text);
        }
      }
    }
  }
  return {};
}

}  // namespace relpos::inline RELPOS_ABI
