#pragma once
// Caches of latent attention (MLA), where the values of a row are the first channels of its key:
// they are stored once, appended once, and read as both. DeepSeek-AI, "DeepSeek-V2", arXiv
// 2405.04434, section 2.1.
//
// append and attention refuse a rotation of channels that are also the values.

//   const relpos::paged_cache<relpos::half> cache{relpos::latent_memory(keys, 512), lengths, {block_table}};
//   const relpos::rotary rotation{rope, 512};     // rotates the 64 channels behind the values
//   relpos::append(runner, cache, k, rotation);   // 512 channels of c, 64 of k_pe
//   relpos::attention(runner, memory, out, q, cache, rotation, relpos::causal{}, relpos::options{.scale = scale});

#include "relpos/kv_cache/memory.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup latent
/// @{

/// Memory of a latent cache of float, bfloat16 or half.
///
/// Keys are [slab, key head, row, d]; their first `value_dim` channels, at most d, are the values.
/// If `keys` is a tensor, name `Stored`: `latent_memory<half>(keys, 512)`.
///
/// @snippet reference.cpp latent
template <cache_storage Stored>
  requires(!grouped_storage<Stored>)
constexpr cache_memory<Stored> latent_memory(const view<Stored, 4>& keys, index_t value_dim) {
  return {keys, keys.slice(3, 0, value_dim)};
}

/// Memory of a latent cache of 8 bits.
///
/// key_scales [slab, key head, row] has one scale for all channels of a row.
template <cache_storage Stored>
  requires storage_traits<Stored>::is_scaled
constexpr cache_memory<Stored> latent_memory(const view<Stored, 4>& keys, index_t value_dim,
                                             const view<float, 3>& key_scales) {
  return {keys, keys.slice(3, 0, value_dim), key_scales, key_scales};
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
