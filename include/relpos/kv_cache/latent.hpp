#pragma once
// Caches of latent attention (MLA), where the values of a row are the first channels of its key:
// they are stored once, appended once, and read as both. DeepSeek-AI, "DeepSeek-V2", arXiv
// 2405.04434, section 2.1.
//
//   const relpos::paged_cache<relpos::half> cache{relpos::latent_memory(keys, 512), lengths, {block_table}};
//   relpos::append(runner, cache, k);                                  // 512 channels of c, 64 of the rotated k_pe
//   relpos::attention(runner, memory, out, q, cache, relpos::causal{}, relpos::options{.scale = scale});
//
// A rotation rotates the first channels, and so would rotate the values: append and attention
// refuse one. Rotate k_pe and q_pe before, each a slice of its rows (`rotate`).

#include "relpos/kv_cache/memory.hpp"

namespace relpos::inline RELPOS_ABI {

/// keys [slab, key head, row, d], the values being their first `value_dim` channels, at most d. For
/// a tensor, name `Stored`: `latent_memory<half>(keys, 512)`.
template <cache_storage Stored>
constexpr cache_memory<Stored> latent_memory(const view<Stored, 4>& keys, index_t value_dim) {
  return {keys, keys.slice(3, 0, value_dim)};
}

/// The same of int8. A row's scale, in key_scales [slab, key head, row], is of all its channels.
inline cache_memory<int8> latent_memory(const view<int8, 4>& keys, index_t value_dim,
                                        const view<float, 3>& key_scales) {
  return {keys, keys.slice(3, 0, value_dim), key_scales, key_scales};
}

}  // namespace relpos::inline RELPOS_ABI
