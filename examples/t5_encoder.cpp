// T5's learned relative position bias in an encoder, sharpened by a temperature for an input longer
// than the model was trained on.

#include <relpos/relpos.hpp>

#include <cmath>
#include <cstdio>

using namespace relpos;

using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]

namespace {

Tensor waves(double frequency) {
  Tensor result(1, 4, 1024, 64);
  for (int i = 0; i < result.size(); ++i) {
    result.data()[i] = static_cast<float>(std::sin(frequency * i));
  }
  return result;
}

float range_of_first_row(const Tensor& out) {
  float low = out(0, 0, 0, 0), high = low;
  for (int c = 0; c < 64; ++c) {
    low = std::fmin(low, out(0, 0, 0, c));
    high = std::fmax(high, out(0, 0, 0, c));
  }
  return high - low;
}

}  // namespace

int main() {
  const Tensor q = waves(0.91), k = waves(0.83), v = waves(0.77);

  // [num_buckets, heads], the layout of a Hugging Face checkpoint.
  Eigen::Tensor<float, 2, Eigen::RowMajor> table(32, 4);
  for (int i = 0; i < table.size(); ++i) table.data()[i] = static_cast<float>(std::cos(i));

  const t5_bias bias{table, bidirectional};
  const options scaled{.scale = 0.125f};  // the default of t5_bias is 1
  const Tensor plain = attention(q, k, v, bias, scaled);
  const Tensor sharper = attention(q, k, v, bias, scaled, temperature{0.8});
  const Tensor same = attention(q, k, v, bias, scaled, temperature{1});

  std::printf("values across the channels of row 0: range %.4f, with temperature 0.8: %.4f\n",
              static_cast<double>(range_of_first_row(plain)),
              static_cast<double>(range_of_first_row(sharper)));

  for (int i = 0; i < plain.size(); ++i) {  // temperature 1 changes nothing
    if (std::abs(plain.data()[i] - same.data()[i]) > 1e-6f) return 1;
  }
  return 0;
}
