#include "call.hpp"

#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

namespace relpos_operator {

chosen_mask mask_of(const keywords& given) {
  using kind = chosen_mask::kind;
  struct named_mask {
    const char* name;
    kind is;
    bool has_size;
  };
  constexpr std::array<named_mask, 6> masks{{{"full", kind::full, false},
                                             {"causal", kind::causal, false},
                                             {"sliding_window", kind::sliding_window, true},
                                             {"blockwise_causal", kind::blockwise_causal, true},
                                             {"chunked_causal", kind::chunked_causal, true},
                                             {"prefix", kind::prefix, true}}};
  for (const named_mask& mask : masks) {
    if (given.mask != mask.name) continue;
    TORCH_CHECK_VALUE(mask.has_size || !given.mask_size, "mask_size: the mask '", mask.name,
                      "' has none");
    TORCH_CHECK_VALUE(!mask.has_size || given.mask_size, "mask_size: must be given with the mask '",
                      mask.name, "'");
    return {mask.is, given.mask_size.value_or(0)};
  }
  TORCH_CHECK_VALUE(false, "mask: is '", given.mask,
                    "', must be 'full', 'causal', 'sliding_window', 'blockwise_causal', "
                    "'chunked_causal' or 'prefix'");
}

bool rotates(std::string_view encoding) {
  if (encoding == "rope" || encoding == "xpos") return true;
  for (const char* name : {"none", "alibi", "alibi_symmetric", "t5"}) {
    if (encoding == name) return false;
  }
  TORCH_CHECK_VALUE(false, "encoding: is '", encoding,
                    "', must be 'none', 'alibi', 'alibi_symmetric', 't5', 'rope' or 'xpos'");
}

const relpos::rotary_table& table_of(std::string_view encoding, index_t head_dim, double base,
                                     std::string_view pair_layout) {
  const bool is_interleaved = pair_layout == "interleaved";
  TORCH_CHECK_VALUE(is_interleaved || pair_layout == "half_split", "pair_layout: is '", pair_layout,
                    "', must be 'half_split' or 'interleaved'");
  const auto layout =
      is_interleaved ? relpos::pair_layout::interleaved : relpos::pair_layout::half_split;
  // NaN would equal every key of the map.
  TORCH_CHECK_VALUE(std::isfinite(base), "base: is ", base, ", must be finite");

  static std::mutex one_at_a_time;
  static std::map<std::tuple<bool, index_t, double, relpos::pair_layout>, relpos::rotary_table>
      tables;
  const std::lock_guard lock(one_at_a_time);
  const bool decays = encoding == "xpos";
  const std::tuple key{decays, head_dim, base, layout};
  const auto found = tables.find(key);
  if (found != tables.end()) return found->second;
  const auto frequencies = decays ? relpos::xpos_frequencies(head_dim, 0.4, 512.0, base)
                                  : relpos::rope_frequencies(head_dim, base);
  return tables.try_emplace(key, frequencies, layout).first->second;
}

}  // namespace relpos_operator
