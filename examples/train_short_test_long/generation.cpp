#include "generation.hpp"

#include <random>

#include "reader.hpp"

namespace extrapolation {

std::string continuation(const variant& of, const language_model& model, std::string_view prompt,
                         long count) {
  if (prompt.size() > trained_length) prompt.remove_prefix(prompt.size() - trained_length);
  reader reads(of, model, static_cast<long>(prompt.size()) + count);
  std::mt19937 random(1);
  std::string written;
  matrix states = reads.read_on(prompt);
  for (long i = 0; i < count; ++i) {
    const Eigen::RowVectorXf logits = reads.logits(states.bottomRows(1)) / 0.7f;
    const Eigen::RowVectorXf weights = (logits.array() - logits.maxCoeff()).exp();
    float rest = weights.sum() * static_cast<float>(random() >> 8) * 0x1p-24f;
    long byte = 0;
    while (byte < 255 && rest >= weights[byte]) rest -= weights[byte++];
    written += static_cast<char>(byte);
    states = reads.read_on(std::string_view(written).substr(written.size() - 1));
  }
  return written;
}

}  // namespace extrapolation
