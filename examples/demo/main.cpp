// relpos_demo FILE [SHEET.svg]: every encoding over the bytes of a text, up to four times the
// length that a model would have been trained on, on one thread. It prints the time of each call
// with and without fusion, how attention disperses with length, and the temperatures that restore
// its sharpness. With a second argument it also writes the sheet of pictures (sheet.hpp).

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <limits>
#include <string>
#include <vector>

#include "compare.hpp"
#include "first_bytes.hpp"
#include "other_biases.hpp"
#include "sharpness.hpp"
#include "sheet.hpp"

namespace demo {
namespace {

constexpr int training_length = 512;
constexpr int lengths[] = {512, 1024, 2048};
constexpr std::size_t longest = 2048;

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

void print_heading() {
  std::printf("\n%-24s %6s %8s %8s %6s %9s %9s %8s\n", "encoding, mask", "length", "relpos",
              "unfused", "ratio", "memory", "unfused", "error");
}

void print_sharpness_heading() {
  std::printf("\n%-24s %6s %8s %8s %10s   %-16s   %-16s\n", "encoding, mask", "length", "entropy",
              "max p", "resolution", "t for entropy", "t for max p");
}

/// Times one encoding. unfused(length) makes the same attention without fusion.
template <class Unfused, class... Policies>
void time(const char* name, const std::string& text, input kind, const Unfused& unfused,
          const Policies&... policies) {
  const auto length = static_cast<int>(text.size());
  unfused_attention without = unfused(length);
  const comparison result = compare(project(text, kind), without, policies...);
  const auto [relpos_seconds, unfused_seconds] = result.seconds;
  std::printf("%-24s %6d %8.2f %8.2f %5.1fx %9s %9s %8.1e\n", name, length, relpos_seconds * 1e3,
              unfused_seconds * 1e3, unfused_seconds / relpos_seconds,
              memory_text(result.relpos_bytes).c_str(), memory_text(result.unfused_bytes).c_str(),
              result.relpos_error);
  std::fflush(stdout);
}

/// Prints the sharpness of one encoding over `text`, and the temperatures that restore the
/// sharpness at the training length.
template <class... Policies>
void align(const char* name, const std::string& text, input kind, const Policies&... policies) {
  const projections in = project(text, kind);
  const sharp here = look_at(text, kind, policies...);
  std::printf("%-24s %6zu %8.3f %8.4f %10.3f", name, text.size(), here.entropy,
              here.max_probability, here.resolution);
  if (text.size() > training_length) {
    const projections trained = project(text.substr(0, training_length), kind);
    for (const sharpness what : {sharpness::entropy, sharpness::max_probability}) {
      const double target = mean_over_rows(what, trained, policies...);
      const float found = temperature_for(what, target, in, policies...);
      const double restored = mean_over_rows(what, in, policies..., temperature{found});
      std::printf(what == sharpness::entropy ? "   %.3f -> %-7.3f" : "   %.3f -> %-7.4f",
                  static_cast<double>(found), restored);
    }
  }
  std::printf("\n");
  std::fflush(stdout);
}

/// Calls `use(name, kind, unfused, policies...)` for every encoding.
template <class Use>
void for_each_encoding(const Use& use) {
  const float scale = 1.0f / std::sqrt(float{head_dim});
  constexpr float hidden = -std::numeric_limits<float>::infinity();
  const causal mask;
  const auto plain = [=](int length) {
    return unfused_attention(
        length, scale, [](int, int q_pos, int k_pos) { return k_pos > q_pos ? hidden : 0.0f; });
  };
  use("none, causal", input::plain, plain, mask);
  use("sinusoidal, causal", input::sinusoidal, plain, mask);

  const std::vector<float> slopes = alibi_slopes(heads);
  const auto lines = [&](int length) {
    return unfused_attention(length, scale, [&](int head, int q_pos, int k_pos) {
      return k_pos > q_pos
                 ? hidden
                 : slopes[static_cast<std::size_t>(head)] * static_cast<float>(k_pos - q_pos);
    });
  };
  use("ALiBi, causal", input::plain, lines, alibi{slopes}, mask);

  const auto symmetric = [&](int length) {
    return unfused_attention(length, scale, [&](int head, int q_pos, int k_pos) {
      return -slopes[static_cast<std::size_t>(head)] * static_cast<float>(std::abs(k_pos - q_pos));
    });
  };
  use("ALiBi, bidirectional", input::plain, symmetric, alibi_symmetric{slopes});

  const auto sandwich = examples::sandwich(heads);
  const auto sinusoids = [&](int length) {
    std::vector<float> of_distance(static_cast<std::size_t>(length));  // of head 0
    for (int n = 0; n < length; ++n) {
      of_distance[static_cast<std::size_t>(n)] = static_cast<float>(sandwich.tabulated_bias(0, -n));
    }
    return unfused_attention(length, scale, [=](int head, int q_pos, int k_pos) {
      return k_pos > q_pos ? hidden
                           : of_distance[static_cast<std::size_t>(q_pos - k_pos)] /
                                 static_cast<float>(head + 1);
    });
  };
  use("Sandwich, causal", input::plain, sinusoids, sandwich, mask);

  const auto kerple = [&](index_t head, index_t distance) {
    const double slope = slopes[static_cast<std::size_t>(head)];
    return -4.0 * slope * std::log1p(std::abs(static_cast<double>(distance)));
  };
  const auto logarithms = [&](int length) {
    return unfused_attention(length, scale, [&](int head, int q_pos, int k_pos) {
      return k_pos > q_pos ? hidden : static_cast<float>(kerple(head, k_pos - q_pos));
    });
  };
  use("KERPLE (log), causal", input::plain, logarithms, relative_bias{kerple}, mask);

  const auto theta = [](int i) { return std::pow(10000.0, -2.0 * i / head_dim); };
  const auto rotated = [&](int length) {
    return unfused_attention(
        length, scale, [](int, int q_pos, int k_pos) { return k_pos > q_pos ? hidden : 0.0f; },
        rotation(length, theta, [](int) { return 1.0; }));
  };
  const rotary_table rope(rope_frequencies(head_dim), pair_layout::half_split);
  use("RoPE, causal", input::plain, rotated, rotary{rope}, mask);

  const rotary_frequencies stretched =
      yarn_frequencies(head_dim, longest / double{training_length}, training_length);
  const float sharper =
      scale * static_cast<float>(stretched.attention_factor * stretched.attention_factor);
  const auto rotated_less = [&](int length) {
    return unfused_attention(
        length, sharper, [](int, int q_pos, int k_pos) { return k_pos > q_pos ? hidden : 0.0f; },
        rotation(
            length, [&](int i) { return stretched.radians[static_cast<std::size_t>(i)]; },
            [](int) { return 1.0; }));
  };
  const rotary_table yarn(stretched, pair_layout::half_split);
  use("RoPE (YaRN), causal", input::plain, rotated_less, rotary{yarn}, mask);

  constexpr int block = training_length / 2;
  const auto scaled = [&](int length) {
    return unfused_attention(
        length, scale,
        [](int, int q_pos, int k_pos) {
          return k_pos > q_pos || k_pos < (q_pos / block - 1) * block ? hidden : 0.0f;
        },
        rotation(length, theta,
                 [](int i) { return std::pow((2.0 * i / head_dim + 0.4) / 1.4, 1.0 / 512.0); }));
  };
  const rotary_table xpos(xpos_frequencies(head_dim), pair_layout::half_split);
  use("XPOS, blockwise causal", input::plain, scaled, rotary{xpos}, blockwise_causal{block});

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
  const t5_bias bias{table, bidirectional};
  const auto bucketed = [&](int length) {
    std::vector<int> bucket_of;  // of distances from 1 - length on
    for (int distance = 1 - length; distance < length; ++distance) {
      bucket_of.push_back(static_cast<int>(bias.buckets.bucket(distance)));
    }
    return unfused_attention(length, 1.0f, [&, bucket_of](int head, int q_pos, int k_pos) {
      return table(bucket_of[static_cast<std::size_t>(k_pos - q_pos + length - 1)], head);
    });
  };
  use("T5, bidirectional", input::unscaled, bucketed, bias);
}

template <class Show>
void for_each_length(const std::string& text, const Show& show) {
  for (const int length : lengths) {
    if (static_cast<std::size_t>(length) > text.size() && length != lengths[0]) break;
    show(text.substr(0, static_cast<std::size_t>(length)));
  }
}

void run(const std::string& path) {
  const std::string text = first_bytes(path, longest);
  const std::size_t slash = path.find_last_of('/');
  std::printf("text      %zu bytes of %s, one position each\n", text.size(),
              path.substr(slash == std::string::npos ? 0 : slash + 1).c_str());
  std::printf("model     %d heads of %d channels, fixed random weights, float32, one thread\n",
              heads, head_dim);
  std::printf("compiled  %s\n", native::name);
  print_heading();
  for_each_encoding(
      [&](const char* name, input kind, const auto& unfused, const auto&... policies) {
        for_each_length(
            text, [&](const std::string& part) { time(name, part, kind, unfused, policies...); });
      });
  print_sharpness_heading();
  for_each_encoding([&](const char* name, input kind, const auto&, const auto&... policies) {
    for_each_length(text, [&](const std::string& part) { align(name, part, kind, policies...); });
  });
  std::printf(
      "\n"
      "relpos, unfused  milliseconds, median of runs taken in turns, after a check of the "
      "results;\n"
      "                 unfused: Eigen products around a matrix of bias and mask that was built\n"
      "                 before the clock started, softmax by rows\n"
      "memory           workspace; unfused: bias of all heads, scores of one, cosines and sines\n"
      "error            largest against the definition in float64, at %d rows spread over the "
      "text\n"
      "entropy, max p   mean, and geometric mean, over rows that see at least half as many keys "
      "as any\n"
      "resolution       LeX's measure of the score of a key like the query at each distance\n"
      "t                the temperature that aligns the longer text with %d positions -> what it "
      "has then\n",
      sampled_rows, training_length);
}

}  // namespace
}  // namespace demo

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: relpos_demo FILE [SHEET.svg]\n");
    return 2;
  }
  try {
    demo::run(argv[1]);
    if (argc == 3) demo::write_sheet(argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "relpos_demo: %s\n", error.what());
    return 1;
  }
  return 0;
}
