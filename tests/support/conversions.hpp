#pragma once
// Conversions of every storage type in a mode of the floating-point unit, against what their
// definitions say in the default mode. Without a test framework: it runs on emulated processors
// too.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "relpos/kv_cache/memory.hpp"
#include "relpos/rows/strided_rows.hpp"
#include "relpos/simd/pack.hpp"
#include "support/floating_point_modes.hpp"
#include "support/stored_formats.hpp"

namespace support {

using words = std::vector<std::uint32_t>;

/// The first of the results that are not as wanted, in words; nothing if there is none.
inline std::string first_fault(const std::string& of, const words& inputs, const words& got,
                               const words& wanted) {
  const auto at = static_cast<std::size_t>(
      std::mismatch(got.begin(), got.end(), wanted.begin(), wanted.end()).first - got.begin());
  if (at == got.size() && got.size() == wanted.size()) return {};
  std::ostringstream text;
  text << of << std::hex << ": 0x" << inputs.at(at) << " becomes 0x" << got.at(at)
       << ", must become 0x" << wanted.at(at) << '\n';
  return text.str();
}

template <class T>
words bits_of(const std::vector<T>& values) {
  words result;
  for (const T& value : values) {
    if constexpr (sizeof(T) == 4) {
      result.push_back(std::bit_cast<std::uint32_t>(value));
    } else if constexpr (sizeof(T) == 2) {
      result.push_back(value.bits);
    } else {
      result.push_back(std::bit_cast<std::uint8_t>(value));
    }
  }
  return result;
}

inline float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

/// Every bit pattern.
template <class Stored>
std::vector<Stored> all_stored() {
  std::vector<Stored> result;
  if constexpr (sizeof(Stored) == 1) {
    for (int value = -128; value < 128; ++value) {
      result.push_back(std::bit_cast<Stored>(static_cast<std::int8_t>(value)));
    }
  } else {
    for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) result.push_back(from_bits<Stored>(bits));
  }
  return result;
}

/// A NaN keeps its sign and payload; as a half it becomes quiet.
template <class Stored>
std::uint32_t bits_of_float(Stored stored) {
  if constexpr (std::is_same_v<Stored, relpos::int8>) {
    return std::bit_cast<std::uint32_t>(static_cast<float>(stored));
  } else if constexpr (sizeof(Stored) == 1) {
    const double value = float8_meaning<Stored>(stored.bits);
    if (!std::isnan(value)) return std::bit_cast<std::uint32_t>(static_cast<float>(value));
    // The mantissa of e5m2 remains.
    return (stored.bits & 0x80u) << 24 | 0x7fc00000u |
           (std::is_same_v<Stored, relpos::float8_e5m2> ? (stored.bits & 1u) << 21 : 0u);
  } else {
    const auto value = static_cast<float>(meaning<Stored>(stored.bits));
    if (!std::isnan(value)) return std::bit_cast<std::uint32_t>(value);
    constexpr int mantissa_bits = format<Stored>::mantissa_bits;
    const std::uint32_t payload = stored.bits & ((1u << mantissa_bits) - 1);
    return (stored.bits & 0x8000u) << 16 | 0x7f800000u | payload << (23 - mantissa_bits) |
           (mantissa_bits == 10 ? 0x00400000u : 0u);
  }
}

template <class Stored>
[[gnu::noinline]] void widen(const std::vector<Stored>& from, std::vector<float>& to) {
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<float>(from[i]);
}

template <class Isa, class Stored>
[[gnu::noinline]] void widen_by_packs(const std::vector<Stored>& from, std::vector<float>& to) {
  constexpr std::size_t n = relpos::lanes<Isa>;
  for (std::size_t i = 0; i + n <= from.size(); i += n) {
    relpos::float_pack<Isa>::load(from.data() + i).store(to.data() + i);
  }
}

/// Whole rows, whose blocks some instruction sets convert by instructions of their own.
template <class Isa, class Stored>
[[gnu::noinline]] void widen_rows(const std::vector<Stored>& from, std::vector<float>& to) {
  relpos::load_row<Isa>(from.data(), static_cast<relpos::index_t>(from.size()), to.data());
}

/// Their name; g++ 12 warns, falsely, of the same as one expression.
template <class Isa>
[[gnu::noinline]] std::string packs_of() {
  std::string result(Isa::name);
  result += " packs of ";
  result += std::to_string(relpos::lanes<Isa>);
  return result;
}

/// From storage to float, by scalars, and by packs and in rows of each instruction set.
template <class Stored, class... Isas>
std::string faults_of_widening() {
  const std::vector<Stored> from = all_stored<Stored>();
  words wanted;
  for (const Stored& stored : from) wanted.push_back(bits_of_float(stored));
  std::string faults;
  for (const floating_point_mode& mode : floating_point_modes) {
    const auto check = [&](const std::string& what, const auto& convert) {
      std::vector<float> to(from.size());
      in_mode(mode, [&] { convert(from, to); });
      faults += first_fault(what + " to float, " + mode.name, bits_of(from), bits_of(to), wanted);
    };
    check("scalars", widen<Stored>);
    (check(packs_of<Isas>(), widen_by_packs<Isas, Stored>), ...);
    (check("rows by " + packs_of<Isas>(), widen_rows<Isas, Stored>), ...);
  }
  return faults;
}

/// Around each number of the format and each middle of two, floats of all magnitudes, and some NaN.
template <class Stored>
std::vector<float> floats_to_round() {
  std::vector<float> result;
  const auto append_around = [&](double value) {
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
    for (const std::uint32_t near : {bits - 1, bits, bits + 1}) {
      if (near > 0x7fffffffu) continue;  // below zero
      result.push_back(float_of(near));
      result.push_back(float_of(near | 0x80000000u));
    }
  };
  const double infinite = std::ldexp(1.0, format<Stored>::bias + 1);
  for (std::uint32_t bits = 0; std::isfinite(meaning<Stored>(bits)); ++bits) {
    const double value = meaning<Stored>(bits);
    const double next = meaning<Stored>(bits + 1);
    append_around(value);
    append_around((value + (std::isfinite(next) ? next : infinite)) / 2);
  }
  for (std::uint64_t bits = 0; bits < 0x100000000u; bits += 65519) {
    result.push_back(float_of(static_cast<std::uint32_t>(bits)));
  }
  for (const std::uint32_t nan : {0x7f800001u, 0xff80ffffu, 0x7fffe000u, 0xffffffffu}) {
    result.push_back(float_of(nan));
  }
  return result;
}

/// The nearer of two neighbours, and the even one halfway, found among all numbers of the format.
/// The largest number's upper neighbour is what would follow it, and means infinity.
template <class Stored>
words bits_of_nearest(const std::vector<float>& values) {
  std::vector<double> numbers;
  for (std::uint32_t bits = 0; std::isfinite(meaning<Stored>(bits)); ++bits) {
    numbers.push_back(meaning<Stored>(bits));
  }
  numbers.push_back(std::ldexp(1.0, format<Stored>::bias + 1));
  words result;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    if (std::isnan(value)) {
      result.push_back(format<Stored>::mantissa_bits == 10 ? sign | 0x7e00u : bits >> 16 | 0x0040u);
      continue;
    }
    const double magnitude = std::abs(static_cast<double>(value));
    const auto above = static_cast<std::size_t>(
        std::upper_bound(numbers.begin(), numbers.end() - 1, magnitude) - numbers.begin());
    const double past_lower = magnitude - numbers[above - 1];
    const double to_upper = numbers[above] - magnitude;
    const bool is_lower = past_lower < to_upper || (past_lower == to_upper && above % 2 == 1);
    result.push_back(sign | static_cast<std::uint32_t>(is_lower ? above - 1 : above));
  }
  return result;
}

template <class Stored>
[[gnu::noinline]] void narrow(const std::vector<float>& from, std::vector<Stored>& to) {
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<Stored>(from[i]);
}

/// From float to 16 bits.
template <class Stored>
std::string faults_of_rounding() {
  const std::vector<float> from = floats_to_round<Stored>();
  const words wanted = bits_of_nearest<Stored>(from);
  std::string faults;
  for (const floating_point_mode& mode : floating_point_modes) {
    std::vector<Stored> to(from.size());
    in_mode(mode, [&] { narrow(from, to); });
    faults +=
        first_fault(std::string("from float, ") + mode.name, bits_of(from), bits_of(to), wanted);
  }
  return faults;
}

/// Rows of floats, one after another, of some number of channels.
struct float_rows {
  relpos::index_t channels;
  std::vector<float> values;
};

/// Rows whose channels are all magnitudes below the first, which has any exponent: of numbers at
/// random, and of ties and their neighbours. The last of them are as small as the least row that
/// has steps, infinite, and not numbers.
inline float_rows rows_to_quantise() {
  float_rows result{384, {}};
  std::uint32_t state = 1;
  const auto random = [&state] { return (state = state * 1664525u + 1013904223u) >> 8; };
  const auto append = [&](float first, const auto& channel) {
    result.values.push_back(first);
    for (relpos::index_t c = 1; c < result.channels; ++c) result.values.push_back(channel(c));
  };
  for (std::uint32_t exponent = 0; exponent < 255; ++exponent) {
    const std::uint32_t largest = exponent << 23 | (random() & 0x7fffffu);
    // Most are of the largest's own scale, some of all scales below.
    append(float_of(largest), [&](relpos::index_t c) {
      const std::uint32_t below =
          (random() << (c % 8 == 0 ? 7 : 2)) + static_cast<std::uint32_t>(c % 4);
      const std::uint32_t near = largest - std::min(below, largest);
      return float_of(near | (random() & 1u) << 31);
    });
    // 127 scales of 12 bits are a float, and so is any half of them.
    const double scale =
        std::ldexp(2048 + (random() & 0x7ffu), static_cast<int>(exponent) - 127 - 18);
    if (static_cast<float>(127.0 * scale) == 127.0 * scale) {
      append(static_cast<float>(127.0 * scale), [&](relpos::index_t c) {
        const auto bits = std::bit_cast<std::uint32_t>(
            static_cast<float>((static_cast<double>(c / 3 % 127) + 0.5) * scale));
        return float_of((bits + static_cast<std::uint32_t>(c % 3) - 1) | (random() & 1u) << 31);
      });
    }
  }
  const auto subnormal = [&](relpos::index_t c) { return float_of(static_cast<std::uint32_t>(c)); };
  const auto largest_subnormal = [](relpos::index_t) { return -float_of(0x007fffffu); };
  for (const std::uint32_t first : {0u, 1u, 0x00800000u, 0x047fffffu, 0x04800000u, 0x04800001u,
                                    0x7f7fffffu, 0x7f800000u, 0x7f800001u, 0xffffffffu}) {
    append(float_of(first), subnormal);
    append(float_of(first), largest_subnormal);
  }
  return result;
}

/// The steps and the scale of each row, by the definition; quotients in double are exact enough to
/// tell which side of a tie they are on, and a tie they hit.
inline void quantise_by_definition(const float_rows& rows, words& steps, words& scales) {
  const auto channels = static_cast<std::size_t>(rows.channels);
  for (std::size_t row = 0; row < rows.values.size(); row += channels) {
    float largest = 0.0f;
    bool is_finite = true;
    for (std::size_t c = 0; c < channels; ++c) {
      largest = std::max(largest, std::abs(rows.values[row + c]));
      is_finite = is_finite && std::isfinite(rows.values[row + c]);
    }
    const float scale = largest < 0x1p-118f ? 0.0f : largest / 127.0f;
    scales.push_back(is_finite ? std::bit_cast<std::uint32_t>(scale) : 0x7fc00000u);
    for (std::size_t c = 0; c < channels; ++c) {
      const double quotient =
          static_cast<double>(rows.values[row + c]) / static_cast<double>(scale);
      const double nearest = is_finite && scale > 0.0f ? std::nearbyint(quotient) : 0.0;
      steps.push_back(static_cast<std::uint8_t>(static_cast<std::int8_t>(nearest)));
    }
  }
}

[[gnu::noinline]] inline void store_rows(const float_rows& rows, std::vector<relpos::int8>& steps,
                                         std::vector<float>& scales) {
  const auto count = static_cast<relpos::index_t>(scales.size());
  const relpos::view<relpos::int8, 4> to(steps.data(), {1, 1, count, rows.channels});
  const relpos::view<float, 3> to_scales(scales.data(), {1, 1, count});
  for (relpos::index_t row = 0; row < count; ++row) {
    relpos::store_row(rows.values.data() + row * rows.channels, to, to_scales, {},
                      relpos::cache_cell{0, row}, 0);
  }
}

/// From rows of floats to int8 with a scale each.
inline std::string faults_of_quantising() {
  const float_rows rows = rows_to_quantise();
  words wanted_steps;
  words wanted_scales;
  quantise_by_definition(rows, wanted_steps, wanted_scales);
  words firsts;
  for (std::size_t row = 0; row < wanted_scales.size(); ++row) {
    firsts.push_back(std::bit_cast<std::uint32_t>(rows.values[row * rows.channels]));
  }
  std::string faults;
  for (const floating_point_mode& mode : floating_point_modes) {
    std::vector<relpos::int8> steps(wanted_steps.size(), 99);
    std::vector<float> scales(wanted_scales.size(), -1.0f);
    in_mode(mode, [&] { store_rows(rows, steps, scales); });
    faults += first_fault(std::string("scale of a row, ") + mode.name, firsts, bits_of(scales),
                          wanted_scales);
    faults += first_fault(std::string("steps of a row, ") + mode.name, bits_of(rows.values),
                          bits_of(steps), wanted_steps);
  }
  return faults;
}

/// Scales of rows of one channel, of many mantissas.
inline std::string faults_of_scales() {
  float_rows rows{1, {}};
  for (std::uint64_t bits = 0; bits < 0x7f800000u; bits += 40009) {
    rows.values.push_back(float_of(static_cast<std::uint32_t>(bits)));
  }
  words wanted_steps;
  words wanted_scales;
  quantise_by_definition(rows, wanted_steps, wanted_scales);
  std::vector<relpos::int8> steps(wanted_steps.size(), 99);
  std::vector<float> scales(wanted_scales.size(), -1.0f);
  store_rows(rows, steps, scales);
  return first_fault("scale", bits_of(rows.values), bits_of(scales), wanted_scales) +
         first_fault("steps", bits_of(rows.values), bits_of(steps), wanted_steps);
}

/// Rows of 8 bits, and numbers by the scales of channels, have in every mode the bits of the
/// default mode; subnormal numbers too.
template <class Stored>
std::string faults_of_dividing() {
  float_rows rows = rows_to_quantise();
  const auto channels = static_cast<std::size_t>(rows.channels);
  for (std::size_t row = 0; row < rows.values.size(); row += channels) {
    for (std::size_t c = 2; c < channels; c += 7) rows.values[row + c] = 0x1p-127f;
  }
  const std::size_t count = rows.values.size() / channels;
  std::vector<Stored> wanted_row(rows.values.size()), wanted_number(rows.values.size());
  std::string faults;
  for (const floating_point_mode& mode : floating_point_modes) {
    std::vector<Stored> by_row(rows.values.size()), by_channel(rows.values.size());
    in_mode(mode, [&] {
      for (std::size_t row = 0; row < count; ++row) {
        relpos::quantise_row(rows.values.data() + row * channels, rows.channels,
                             by_row.data() + row * channels);
      }
      for (std::size_t i = 0; i < by_channel.size(); ++i) {
        const float scale = i % 3 == 0 ? 0x1.02p-126f : i % 3 == 1 ? 0x1.6p-3f : 1e20f;
        by_channel[i] = relpos::quantised<Stored>(rows.values[i], scale);
      }
    });
    if (&mode == &floating_point_modes.front()) {
      wanted_row = by_row;
      wanted_number = by_channel;
    }
    faults += first_fault(std::string("a row, ") + mode.name, bits_of(rows.values), bits_of(by_row),
                          bits_of(wanted_row));
    faults += first_fault(std::string("by the scale of a channel, ") + mode.name,
                          bits_of(rows.values), bits_of(by_channel), bits_of(wanted_number));
  }
  return faults;
}

/// A mode that this processor does not take would be no test.
inline std::string faults_of_modes() {
  std::string faults;
  const std::vector<float> operands{0x1p-126f, 0x1p-127f, 1.0f, 3.0f, -1.0f};
  for (const floating_point_mode& mode : floating_point_modes) {
    std::vector<float> results(4);
    in_mode(mode, [&] {
      volatile float half_of_least = operands[0];
      half_of_least = half_of_least * 0.5f;
      volatile float of_subnormal = operands[1];
      of_subnormal = of_subnormal * 2.0f;
      volatile float third = operands[2];
      third = third / operands[3];
      volatile float minus_third = operands[4];
      minus_third = minus_third / operands[3];
      results = {half_of_least, of_subnormal, third, minus_third};
    });
    const bool differs = results[0] == 0.0f || results[1] == 0.0f || results[2] != 1.0f / 3.0f ||
                         results[3] != -1.0f / 3.0f;
    if (differs != (mode.bits != 0)) faults += std::string(mode.name) + " is without effect\n";
  }
  return faults;
}

}  // namespace support
