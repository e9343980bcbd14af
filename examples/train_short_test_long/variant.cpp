#include "variant.hpp"

#include <algorithm>

namespace extrapolation {

std::span<const variant> variants() {
  using enum encoding;
  static constexpr variant all[] = {
      {"none", "nope-0", none},
      {"sinusoidal", "sinusoidal-0", sinusoidal},
      {"rope", "rope-0", rope},
      {"rope-seed-2", "rope-1", rope, stretch::none, true},
      {"rope-linear", "rope-0", rope, stretch::linear},
      {"rope-ntk", "rope-0", rope, stretch::ntk},
      {"rope-yarn", "rope-0", rope, stretch::yarn},
      {"xpos", "xpos-0", xpos},
      {"xpos-blockwise", "xpos-0", xpos, stretch::blockwise},
      {"alibi", "alibi-0", alibi},
      {"alibi-seed-2", "alibi-1", alibi, stretch::none, true},
      {"t5", "t5-0", t5},
      {"t5-max-probability", "t5-0", t5, stretch::max_probability},
      {"t5-entropy", "t5-0", t5, stretch::entropy},
      {"mixed", "mixed-0", mixed},
  };
  return all;
}

relpos::rotary_frequencies frequencies_of(const variant& of, long length) {
  if (of.by == encoding::xpos) return relpos::xpos_frequencies(head_dim);
  const double factor =
      std::max(1.0, static_cast<double>(length) / static_cast<double>(trained_length));
  switch (of.beyond) {
    case stretch::linear:
      return relpos::linear_frequencies(head_dim, factor);
    case stretch::ntk:
      return relpos::ntk_frequencies(head_dim, factor);
    case stretch::yarn:
      return relpos::yarn_frequencies(head_dim, factor, trained_length);
    default:
      return relpos::rope_frequencies(head_dim);
  }
}

}  // namespace extrapolation
