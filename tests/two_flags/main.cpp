// Translation units compiled for different instruction sets in one program: each computes with its
// own, and all are right. Prints what is wrong and returns 1.

#include <cmath>
#include <cstdio>
#include <random>
#include <set>

#include "call.hpp"

two_flags_answer answer_with_avx_fma(const two_flags_call& call);
two_flags_answer answer_with_avx2(const two_flags_call& call);
two_flags_answer answer_with_avx512(const two_flags_call& call);
two_flags_answer answer_with_avx512_bf16(const two_flags_call& call);
two_flags_answer answer_with_amx(const two_flags_call& call);

namespace {

constexpr int heads = two_flags_call::heads;
constexpr int queries = two_flags_call::queries;
constexpr int keys = two_flags_call::keys;
constexpr int channels = two_flags_call::channels;

bool failed = false;

void expect(bool condition, const char* who, const char* what) {
  if (condition) return;
  std::printf("%s: %s\n", who, what);
  failed = true;
}

std::vector<float> random_floats(int count, std::uint32_t seed) {
  std::mt19937 bits(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(bits() >> 8) * 0x1p-23f - 1.0f;
  return values;
}

/// By definition, in double.
void attend_naively(const two_flags_call& call, std::vector<double>& out,
                    std::vector<double>& lse) {
  const auto at = [](const std::vector<float>& from, int row, int c) {
    return static_cast<double>(from[static_cast<std::size_t>(row * channels + c)]);
  };
  for (int h = 0; h < heads; ++h) {
    for (int row = 0; row < queries; ++row) {
      const int q_pos = keys - queries + row;
      double sum = 0;
      double values[channels] = {};
      for (int key = 0; key <= q_pos; ++key) {
        double score = 0;
        for (int c = 0; c < channels; ++c) {
          score += at(call.q, h * queries + row, c) * at(call.k, h * keys + key, c);
        }
        const double slope = call.slopes[static_cast<std::size_t>(h)];
        const double weight = std::exp(score / std::sqrt(channels) + slope * (key - q_pos));
        sum += weight;
        for (int c = 0; c < channels; ++c) values[c] += weight * at(call.v, h * keys + key, c);
      }
      for (const double value : values) out.push_back(value / sum);
      lse.push_back(std::log(sum));
    }
  }
}

bool agree(const std::vector<float>& result, const std::vector<double>& exact) {
  bool close = result.size() == exact.size();
  for (std::size_t i = 0; close && i < exact.size(); ++i) {
    close = std::abs(static_cast<double>(result[i]) - exact[i]) < 4e-6;
  }
  return close;
}

}  // namespace

int main() {
  two_flags_call call;
  call.q = random_floats(heads * queries * channels, 1);
  call.k = random_floats(heads * keys * channels, 2);
  call.v = random_floats(heads * keys * channels, 3);
  call.slopes = {0.5f, 0.0625f};
  std::vector<double> out;
  std::vector<double> lse;
  attend_naively(call, out, lse);

  std::set<const void*> code;
  int units = 0;
  const auto check = [&](const char* who, const two_flags_answer& answer, int lanes) {
    expect(answer.lanes == lanes, who, "does not use its own instruction set");
    expect(answer.accepted, who, "the view form was refused");
    expect(agree(answer.out, out), who, "out of the view form is wrong");
    expect(agree(answer.lse, lse), who, "lse of the view form is wrong");
    expect(answer.eigen_out == answer.out, who, "out of the Eigen form differs");
    expect(answer.eigen_lse == answer.lse, who, "lse of the Eigen form differs");
    code.insert(answer.code);
    ++units;
  };
  check("no flags", answer_with_own_flags(call), 4);
#ifdef RELPOS_HAVE_AVX2
  check("avx and fma", answer_with_avx_fma(call), 4);
  check("avx2", answer_with_avx2(call), 8);
#endif
#ifdef RELPOS_HAVE_AVX512
  check("avx512", answer_with_avx512(call), 16);
#endif
#ifdef RELPOS_HAVE_AVX512_BF16
  check("avx512_bf16", answer_with_avx512_bf16(call), 16);
#endif
#ifdef RELPOS_HAVE_AMX
  check("amx", answer_with_amx(call), 16);
#endif
  expect(static_cast<int>(code.size()) == units, "all", "translation units share a function");
  return failed ? 1 : 0;
}
