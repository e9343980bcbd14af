// relpos_demo FILE: attention over the bytes of a text, fused and not. Time, memory and error of both, on
// one thread.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <limits>
#include <string>
#include <vector>

#include "compare.hpp"

namespace demo {
namespace {

constexpr int lengths[] = {256, 512, 1024, 2048, 4096};
constexpr std::size_t longest = 4096;

std::string memory_text(std::size_t bytes) {
  char text[32];
  const double kib = std::ceil(static_cast<double>(bytes) / 1024.0);
  if (kib < 10000.0) {
    std::snprintf(text, sizeof text, "%.0f KiB", kib);
  } else {
    std::snprintf(text, sizeof text, "%.0f MiB", kib / 1024.0);
  }
  return text;
}

void print_heading(const char* name) {
  std::printf("\n%s\n", name);
  std::printf(
      "         --------- time, ms ---------   -- working memory ---   -- largest error ---\n");
  std::printf("%6s   %9s %9s %9s   %10s %10s   %10s %9s\n", "length", "relpos", "unfused",
              "speed-up", "relpos", "unfused", "relpos", "unfused");
}

void print_line(int length, const comparison& result) {
  const auto [relpos_seconds, unfused_seconds] = result.seconds;
  std::printf("%6d   %9.2f %9.2f %8.1fx   %10s %10s   %10.1e %9.1e\n", length, relpos_seconds * 1e3,
              unfused_seconds * 1e3, unfused_seconds / relpos_seconds,
              memory_text(result.relpos_bytes).c_str(), memory_text(result.unfused_bytes).c_str(),
              result.relpos_error, result.unfused_error);
  std::fflush(stdout);
}

comparison compare_alibi(const std::string& text) {
  const std::vector<float> slopes = relpos::alibi_slopes(heads);
  const auto length = static_cast<int>(text.size());
  const projections in = project(text, true);
  unfused_attention unfused(
      length, 1.0f / std::sqrt(float{head_dim}), [&](int head, int q_pos, int k_pos) {
        return k_pos > q_pos
                   ? -std::numeric_limits<float>::infinity()
                   : slopes[static_cast<std::size_t>(head)] * static_cast<float>(k_pos - q_pos);
      });
  return compare(in, unfused, relpos::alibi{slopes}, relpos::causal{});
}

comparison compare_t5(const std::string& text) {
  // Learned tables favour near keys, by a few units; [num_buckets, heads].
  constexpr int buckets = 32;
  fixed_numbers numbers(1910);
  Eigen::Tensor<float, 2, Eigen::RowMajor> table(buckets, heads);
  for (int bucket = 0; bucket < buckets; ++bucket) {
    for (int head = 0; head < heads; ++head) {
      table(bucket, head) =
          2.0f * numbers.next() - 0.2f * static_cast<float>(bucket % (buckets / 2));
    }
  }
  const relpos::t5_bias bias{table, relpos::bidirectional};

  const auto length = static_cast<int>(text.size());
  std::vector<int> bucket_of;  // of distances from 1 - length on
  for (int distance = 1 - length; distance < length; ++distance) {
    bucket_of.push_back(static_cast<int>(bias.buckets.bucket(distance)));
  }
  const projections in = project(text, false);
  unfused_attention unfused(length, 1.0f, [&](int head, int q_pos, int k_pos) {
    return table(bucket_of[static_cast<std::size_t>(k_pos - q_pos + length - 1)], head);
  });
  return compare(in, unfused, bias);
}

template <class Compare>
void print_table(const char* name, const std::string& text, const Compare& compare_text) {
  const auto bytes = static_cast<int>(text.size());
  print_heading(name);
  for (const int length : lengths) {
    if (length > bytes && length != lengths[0]) break;
    const int used = std::min(length, bytes);
    print_line(used, compare_text(text.substr(0, static_cast<std::size_t>(used))));
  }
}

void run(const std::string& path) {
  const std::string text = first_bytes(path, longest);
  const std::size_t slash = path.find_last_of('/');
  std::printf("text      %zu bytes of %s, one position each\n", text.size(),
              path.substr(slash == std::string::npos ? 0 : slash + 1).c_str());
  std::printf("model     %d heads of %d channels, fixed random weights, float32, one thread\n",
              heads, head_dim);
  std::printf("compiled  %s\n", relpos::native::name);
  print_table("ALiBi, causal", text, compare_alibi);
  print_table("T5 bias, bidirectional", text, compare_t5);
  std::printf(
      "\n"
      "unfused         per head: Eigen product, plus a matrix of bias and mask that was built\n"
      "                before the clock started, softmax by rows, Eigen product\n"
      "time            median of runs taken in turns, after a check of the results\n"
      "working memory  scratch; unfused: bias of all heads and scores of one\n"
      "largest error   against the definition in float64, at %d rows spread over the text\n",
      sampled_rows);
}

}  // namespace
}  // namespace demo

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: relpos_demo FILE\n");
    return 2;
  }
  try {
    demo::run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "relpos_demo: %s\n", error.what());
    return 1;
  }
  return 0;
}
