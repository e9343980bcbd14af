#pragma once
// Products of fragments, for every storage type. 16-bit numbers are multiplied directly. Tensor
// cores cut a float32 to 11 bits, so each float32 is split into two such numbers, and three of the
// four products of their parts are added, the smallest first. The fourth product, and the bits that
// neither part has, are below 2^-21 of the whole (Markidis et al., arXiv 1803.04014; Ootomo and
// Yokota, arXiv 2203.03341).

#include <bit>
#include <type_traits>

#include "relpos/config.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cuda/arch/arch.hpp"

namespace relpos::inline RELPOS_ABI {

/// A lane's part of the scores of 16 rows and 8 `Tiles` keys.
template <int Tiles>
struct score_fragment {
  float tiles[Tiles][4];
};

/// The number of channels, or keys, that one step of a product sums over.
template <multiplied T>
inline constexpr int step_length = 32 / static_cast<int>(sizeof(T));

/// A left factor, [16 x step_length].
template <multiplied T>
struct left_factor {
  fragment<T> whole;
};
template <>
struct left_factor<float> {
  fragment<tf32> large;
  fragment<tf32> small;
};

struct split_number {
  packed<tf32> large;
  packed<tf32> small;
};
/// Numbers of this magnitude or more become infinite when they are rounded to tf32.
inline constexpr float split_limit = 0x1.ffep127f;

/// Splits a float32 into its large and its small part. The small part of an infinite number is 0.
/// The product of an infinite number and another number is NaN if the other's small part is 0,
/// because infinity is multiplied by that part too.
template <class Arch>
RELPOS_DEVICE split_number split(Arch& arch, packed<float> number) {
  const auto x = std::bit_cast<float>(number.bits);
  const packed<tf32> large = arch.round_to_tf32(x);
  const float rest = x - std::bit_cast<float>(large.bits);
  return {large, arch.round_to_tf32(rest == rest ? rest : 0.0f)};
}

template <class Arch, multiplied T>
RELPOS_DEVICE left_factor<T> as_left_factor(Arch& arch, const fragment<T>& numbers) {
  if constexpr (std::is_same_v<T, float>) {
    left_factor<float> result;
    unroll<4>([&](auto part) RELPOS_LAMBDA {
      const split_number number = split(arch, numbers.part[part]);
      result.large.part[part] = number.large;
      result.small.part[part] = number.small;
    });
    return result;
  } else {
    return {numbers};
  }
}

/// c [16 x 8] += a b, over one step.
template <class Arch, multiplied T>
RELPOS_DEVICE void multiply_add(Arch& arch, float (&c)[4], const left_factor<T>& a, packed<T> b0,
                                packed<T> b1) {
  if constexpr (std::is_same_v<T, float>) {
    const split_number low = split(arch, b0);
    const split_number high = split(arch, b1);
    arch.multiply_add(c, a.small, low.large, high.large);
    arch.multiply_add(c, a.large, low.small, high.small);
    arch.multiply_add(c, a.large, low.large, high.large);
  } else {
    arch.multiply_add(c, a.whole, b0, b1);
  }
}

/// scores += a K^T over one step, channels `channel` to `channel` + step_length, for each of
/// `RowTiles` times sixteen rows; `a` has [16 x step_length] numbers of each.
template <class Arch, multiplied T, int RowTiles, int Tiles, class SharedRows>
RELPOS_DEVICE void multiply_add_keys(Arch& arch, score_fragment<Tiles> (&scores)[RowTiles],
                                     const left_factor<T> (&a)[RowTiles], const SharedRows& keys,
                                     int channel, int lane) {
  unroll<Tiles / 2>([&](auto two) RELPOS_LAMBDA {
    const fragment<T> b =
        arch.load(static_cast<const T*>(keys.template matrix_row<false>(two * 16, channel, lane)));
    unroll<RowTiles>([&](auto m) RELPOS_LAMBDA {
      multiply_add(arch, scores[m].tiles[2 * two], a[m], b.part[0], b.part[1]);
      multiply_add(arch, scores[m].tiles[2 * two + 1], a[m], b.part[2], b.part[3]);
    });
  });
}

}  // namespace relpos::inline RELPOS_ABI
