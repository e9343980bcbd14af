#pragma once

#include <cmath>

#include "relpos/model/frequencies.hpp"

namespace relpos::inline RELPOS_ABI {

/// zeta of XPOS for one channel pair, (2 i / rotary_dim + gamma) / (1 + gamma): what remains of the pair's
/// part of a score after scale_base positions.
inline double xpos_decay(index_t pair, index_t rotary_dim, double gamma = 0.4) {
  const double part = 2.0 * static_cast<double>(pair) / static_cast<double>(rotary_dim);
  return 1.0 - (1.0 - part) / (1.0 + gamma);
}

/// XPOS (Sun et al., arXiv 2212.10554): the angles of RoPE, and pair i of a score shrinks by zeta_i =
/// (2 i / rotary_dim + gamma) / (1 + gamma) with every scale_base positions between key and query. For causal
/// attention: towards later keys the factor would grow. gamma and scale_base are positive.
inline rotary_frequencies xpos_frequencies(index_t rotary_dim, double gamma = 0.4,
                                           double scale_base = 512.0, double base = 10000.0) {
  if (!(gamma > 0.0) || !(scale_base > 0.0)) return {};
  rotary_frequencies result = rope_frequencies(rotary_dim, base);
  for (index_t i = 0; i < static_cast<index_t>(result.radians.size()); ++i) {
    result.log2_decay.push_back(std::log2(xpos_decay(i, rotary_dim, gamma)) / scale_base);
  }
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
