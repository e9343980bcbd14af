#include <relpos/relpos.hpp>

#include <array>
#include <span>
#include <vector>

void policies(std::vector<float>& vector, const std::array<float, 8>& array,
              Eigen::VectorXf& eigen_vector, const Eigen::Array<float, 8, 1>& eigen_array,
              const Eigen::Tensor<float, 2, Eigen::RowMajor>& table, const float* data) {
  const relpos::alibi slopes[] = {relpos::alibi{vector},
                                  relpos::alibi{array},
                                  relpos::alibi{eigen_vector},
                                  relpos::alibi{eigen_array, 0.5f},
                                  relpos::alibi{std::span(vector)},
                                  relpos::alibi{std::span(data, 8)}};
  const relpos::t5_bias tables[] = {
      relpos::t5_bias{vector, relpos::bidirectional},
      relpos::t5_bias{table, relpos::unidirectional},
      relpos::t5_bias{std::span(data, 256), relpos::bidirectional, {.num_buckets = 32}},
      relpos::t5_bias{table,
                      relpos::bidirectional,
                      {.num_buckets = 320,
                       .max_distance = 800,
                       .layout = relpos::t5_layout::heads_by_buckets}}};
  static_cast<void>(slopes);
  static_cast<void>(tables);
}
