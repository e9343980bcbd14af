#pragma once
// One call of the view form on memory of its own, to be spoiled argument by argument. Its
// outputs hold a pattern before the call, which shows that a refused call has written nothing.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "relpos/views.hpp"

namespace relpos_test {

inline std::vector<float> random_floats(std::size_t count, std::uint32_t seed) {
  std::mt19937 bits(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(bits() >> 8) * 0x1p-23f - 1.0f;
  return values;
}

struct attention_call {
  // batch 2, heads 4 over 2 key heads, 3 queries, 5 keys, 8 channels, 6 of values
  std::vector<float> q_values = random_floats(2 * 4 * 3 * 8, 1);
  std::vector<float> k_values = random_floats(2 * 2 * 5 * 8, 2);
  std::vector<float> v_values = random_floats(2 * 2 * 5 * 6, 3);
  std::vector<float> out_values = std::vector<float>(2 * 4 * 3 * 6, pattern);
  std::vector<float> lse_values = std::vector<float>(2 * 4 * 3, pattern);

  relpos::view<float, 4> out{out_values.data(), {2, 4, 3, 6}};
  relpos::view<const float, 4> q{q_values.data(), {2, 4, 3, 8}};
  relpos::view<const float, 4> k{k_values.data(), {2, 2, 5, 8}};
  relpos::view<const float, 4> v{v_values.data(), {2, 2, 5, 6}};
  relpos::options opts{
      .lse = relpos::view<float, 3>(lse_values.data(), {2, 4, 3}),
  };

  attention_call() = default;
  attention_call(const attention_call&) = delete;

  /// With memory for the sizes above, which no refused call may look at.
  template <class... Policies>
  relpos::status run(const Policies&... policies) {
    std::fill(memory.begin(), memory.end(), filler);
    return relpos::attention(relpos::serial{}, memory, out, q, k, v, policies..., opts);
  }

  /// Refused with this code and a message that has all of `words`; nothing was written.
  template <class... Policies>
  testing::AssertionResult refuses(relpos::status_code code,
                                   std::initializer_list<std::string> words,
                                   const Policies&... policies) {
    const relpos::status done = run(policies...);
    if (done) return testing::AssertionFailure() << "was not refused";
    return explains(done, code, words);
  }

  testing::AssertionResult explains(const relpos::status& done, relpos::status_code code,
                                    std::initializer_list<std::string> words) const {
    const std::string message = done.message;
    if (done.code != code) {
      return testing::AssertionFailure()
             << "code " << static_cast<int>(done.code) << ": " << message;
    }
    for (const std::string& word : words) {
      if (message.find(word) == std::string::npos) {
        return testing::AssertionFailure() << "no \"" << word << "\" in: " << message;
      }
    }
    if (!is_untouched()) return testing::AssertionFailure() << "memory was written";
    return testing::AssertionSuccess() << message;
  }

  bool is_untouched() const {
    const auto is_pattern = [](float value) { return value == pattern; };
    return std::all_of(out_values.begin(), out_values.end(), is_pattern) &&
           std::all_of(lse_values.begin(), lse_values.end(), is_pattern) &&
           std::all_of(memory.begin(), memory.end(), [](std::byte b) { return b == filler; });
  }

  /// Every element of out and lse was written.
  bool is_complete() const {
    const auto is_result = [](float value) { return value != pattern; };
    return std::all_of(out_values.begin(), out_values.end(), is_result) &&
           std::all_of(lse_values.begin(), lse_values.end(), is_result);
  }

  static constexpr float pattern = -123456.0f;
  static constexpr std::byte filler{0xa5};
  std::vector<std::byte> memory = std::vector<std::byte>(std::size_t{1} << 20);
};

}  // namespace relpos_test
