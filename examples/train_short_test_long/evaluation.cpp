#include "evaluation.hpp"

#include <relpos/relpos.hpp>

#include <chrono>
#include <cmath>
#include <numeric>
#include <random>
#include <string>

#include "threads.hpp"

namespace extrapolation {
namespace {

long size_of(std::string_view text) { return static_cast<long>(text.size()); }

std::string_view piece(std::string_view text, long first, long count) {
  return text.substr(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
}

/// The bits of each of `bytes`, predicted by the rows of `logits`.
std::vector<double> bits_of(const matrix& logits, std::string_view bytes) {
  std::vector<double> bits(bytes.size());
  for (std::size_t row = 0; row < bytes.size(); ++row) {
    const auto of_row = logits.row(static_cast<long>(row));
    const float largest = of_row.maxCoeff();
    const float sum = (of_row.array() - largest).exp().sum();
    const float logit = of_row[static_cast<unsigned char>(bytes[row])];
    bits[row] = static_cast<double>(std::log2(sum) + (largest - logit) * 1.4426950f);
  }
  return bits;
}

double mean(const std::vector<double>& of) {
  return std::accumulate(of.begin(), of.end(), 0.0) / static_cast<double>(of.size());
}

reader reader_of(const subject& of, long length, const temperatures& aligned) {
  reader result(of.of, of.model, length);
  result.layer_temperatures() = aligned;
  return result;
}

}  // namespace

spans spans_of(std::string_view text, long bytes, long count) {
  spans result;
  for (long i = 0; i < count; ++i) {
    const long first = count == 1 ? 0 : (size_of(text) - bytes - 1) * i / (count - 1);
    result.push_back(piece(text, first, bytes + 1));
  }
  return result;
}

prediction predict_in_pieces(const subject& of, const spans& read, long length,
                             const temperatures& aligned) {
  const auto start = std::chrono::steady_clock::now();
  const long of_span = (size_of(read.front()) - 1) / length;
  const long count = static_cast<long>(read.size()) * of_span;
  std::vector<double> all(static_cast<std::size_t>(count)), last = all;
  for_each_item(count, of.threads, [&](long i) {
    const std::string_view span = read[static_cast<std::size_t>(i / of_span)];
    const long first = i % of_span * length;
    reader reads = reader_of(of, length, aligned);
    const matrix states = reads.read(piece(span, first, length));
    const auto bits = bits_of(reads.logits(states), piece(span, first + 1, length));
    all[static_cast<std::size_t>(i)] = mean(bits);
    last[static_cast<std::size_t>(i)] = mean({bits.end() - trained_length, bits.end()});
  });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {mean(all), mean(last), static_cast<double>(count * length) / seconds.count()};
}

double predict_in_window(const subject& of, const spans& read) {
  constexpr long stride = 64;
  const long of_span = (size_of(read.front()) - 1) / stride;
  const long count = static_cast<long>(read.size()) * of_span;
  std::vector<double> all(static_cast<std::size_t>(count));
  for_each_item(count, of.threads, [&](long i) {
    const std::string_view span = read[static_cast<std::size_t>(i / of_span)];
    reader reads(of.of, of.model, trained_length);
    const long end = (i % of_span + 1) * stride;
    const long first = std::max(0L, end - trained_length);
    const matrix states = reads.read(piece(span, first, end - first));
    const auto bits =
        bits_of(reads.logits(states.bottomRows(stride)), piece(span, end - stride + 1, stride));
    all[static_cast<std::size_t>(i)] = mean(bits);
  });
  return mean(all);
}

double find_keys(const subject& of, std::string_view text, long length,
                 const temperatures& aligned) {
  constexpr long digits = 5;
  const long count = std::clamp(32768 / length, 4L, 32L);
  std::vector<double> found(static_cast<std::size_t>(count));
  for_each_item(count, of.threads, [&](long i) {
    std::mt19937 random(static_cast<unsigned>(i));
    std::string key;
    for (long digit = 0; digit < digits; ++digit) key += static_cast<char>('0' + random() % 10);
    const std::string asked = "\n# the key is " + key;
    const std::string told = asked + "\n";
    const long rest = length + 1 - size_of(asked) - size_of(told);
    const auto first = static_cast<long>(random()) % (size_of(text) - rest);
    const long depth = rest * i / count;
    std::string prompt(piece(text, first, depth));
    prompt += told;
    prompt += piece(text, first + depth, rest - depth);
    prompt += asked;
    reader reads = reader_of(of, length, aligned);
    const matrix states = reads.read(piece(prompt, 0, length));
    const matrix logits = reads.logits(states.bottomRows(digits));
    bool is_found = true;
    for (long digit = 0; digit < digits; ++digit) {
      long choice = 0;
      logits.row(digit).maxCoeff(&choice);
      is_found = is_found && choice == key[static_cast<std::size_t>(digit)];
    }
    found[static_cast<std::size_t>(i)] = is_found ? 1.0 : 0.0;
  });
  return mean(found);
}

double resolution(const subject& of, std::string_view text, long length) {
  constexpr long queries = 16;
  reader reads(of.of, of.model, length);
  std::vector<double> of_layers;
  reads.read(piece(text, 0, length), [&](const layer_inputs& in) {
    // The score of a query and a key is the log-sum-exp of a call that has no other key.
    std::vector<double> sums(static_cast<std::size_t>(length)), counts = sums;
    std::vector<float> scores(heads * queries);
    std::vector<std::byte> memory;
    const relpos::view<float, 3> lse(scores.data(), {1, heads, queries});
    const auto q = in.q.slice(2, length - queries, queries);
    for (long key = 0; key < length; ++key) {
      const auto k = in.k.slice(2, key, 1);
      const relpos::view<const float, 4> no_values(nullptr, {1, heads, 1, 0});
      const relpos::view<float, 4> no_out(nullptr, {1, heads, queries, 0});
      const relpos::options opts{
          .scale = score_scale, .lse = lse, .query_offset = length - queries, .key_offset = key};
      reads.with_layer_policies(in.layer, in.qkv.bottomRows(queries), [&](const auto&... policies) {
        const auto call =
            relpos::prepare(relpos::serial{}, no_out, q, k, no_values, policies..., opts);
        memory.resize(std::max(memory.size(), call.workspace_bytes()));
        relpos::throw_unless(call.run(relpos::serial{}, memory));
      });
      for (long i = 0; i < heads * queries; ++i) {
        const long distance = length - queries + i % queries - key;
        if (distance < 0) continue;
        sums[static_cast<std::size_t>(distance)] +=
            static_cast<double>(scores[static_cast<std::size_t>(i)]);
        counts[static_cast<std::size_t>(distance)] += 1.0;
      }
    }
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] /= counts[i];
    of_layers.push_back(relpos::attention_resolution(sums));
  });
  return mean(of_layers);
}

sharpness measure(const subject& of, std::string_view text, const temperatures& aligned) {
  reader reads = reader_of(of, size_of(text), aligned);
  sharpness result;
  reads.read(text, [&](const layer_inputs& in) {
    reads.with_layer_policies(in.layer, in.qkv, [&](const auto&... policies) {
      const relpos::options opts{.scale = score_scale};
      const auto add = [&](relpos::sharpness statistic, double& sum) {
        double of_all = 0.0;
        relpos::throw_unless(relpos::measure_sharpness(
            several_threads{of.threads}, statistic, {&of_all, 1}, in.q, in.k, policies..., opts));
        sum += of_all / layers;
      };
      add(relpos::sharpness::entropy, result.entropy);
      add(relpos::sharpness::max_probability, result.log_of_largest_probability);
    });
  });
  return result;
}

temperatures align(const subject& of, std::string_view text, long length) {
  temperatures result(layers, std::vector<float>(heads, 1.0f));
  const bool is_aligned =
      of.of.beyond == stretch::max_probability || of.of.beyond == stretch::entropy;
  if (!is_aligned || length <= trained_length) return result;
  const auto statistic = of.of.beyond == stretch::entropy ? relpos::sharpness::entropy
                                                          : relpos::sharpness::max_probability;
  const relpos::options opts{.scale = score_scale};
  const relpos::t5_bias bias{of.model.t5_table, relpos::unidirectional};
  // The sharpness of each layer and head at the trained length, over as many bytes.
  std::vector<std::vector<double>> targets(layers, std::vector<double>(heads));
  const long pieces = length / trained_length;
  for (long i = 0; i < pieces; ++i) {
    reader reads(of.of, of.model, trained_length);
    reads.read(piece(text, i * trained_length, trained_length), [&](const layer_inputs& in) {
      std::vector<double> of_heads(heads);
      relpos::throw_unless(relpos::measure_sharpness(several_threads{of.threads}, statistic,
                                                     of_heads, in.q, in.k, bias, relpos::causal{},
                                                     opts));
      for (std::size_t head = 0; head < of_heads.size(); ++head) {
        targets[static_cast<std::size_t>(in.layer)][head] +=
            of_heads[head] / static_cast<double>(pieces);
      }
    });
  }
  // Layer by layer: the input of a layer depends on the temperatures of the layers before it.
  reader reads(of.of, of.model, length);
  reads.read(piece(text, 0, length), [&](const layer_inputs& in) {
    auto& solved = reads.layer_temperatures()[static_cast<std::size_t>(in.layer)];
    relpos::throw_unless(relpos::align_temperatures(
        several_threads{of.threads}, statistic, targets[static_cast<std::size_t>(in.layer)], solved,
        in.q, in.k, bias, relpos::causal{}, opts));
  });
  return reads.layer_temperatures();
}

}  // namespace extrapolation
