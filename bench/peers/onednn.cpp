#include "onednn.hpp"

#include <cmath>
#include <limits>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

// Declared as in OpenMP. Each compiler has its own omp.h, and clang may lack one if libdnnl uses
// g++'s OpenMP.
extern "C" void omp_set_num_threads(int);

namespace relpos::bench {
namespace {

using dnnl::memory;

memory::desc rows(index_t count, index_t columns) {
  return {{count, columns}, memory::data_type::f32, memory::format_tag::ab};
}
memory::desc columns(index_t count, index_t rows) {
  return {{rows, count}, memory::data_type::f32, memory::format_tag::ba};
}

/// [heads or 1][length][length] of bias, -inf where the mask hides: one matrix to add.
std::vector<float> masked_bias(const peer_call& call) {
  const index_t length = call.q.shape[2];
  const index_t heads = call.bias ? call.q.shape[1] : 1;
  std::vector<float> result(static_cast<std::size_t>(heads * length * length));
  auto to = result.begin();
  for (index_t row = 0; row < heads * length; ++row) {
    for (index_t key = 0; key < length; ++key, ++to) {
      const float bias = call.bias ? call.bias[row * length + key] : 0.0f;
      *to = key <= row % length ? bias : -std::numeric_limits<float>::infinity();
    }
  }
  return result;
}

/// Attention head by head: the scores of one head stay in cache, and oneDNN 2.6 has no fast kernel
/// for a matrix that is added to a batch of products.
class attention_of_heads {
 public:
  explicit attention_of_heads(const peer_call& call)
      : call_(call),
        length_(call.q.shape[2]),
        head_dim_(call.q.shape[3]),
        engine_(dnnl::engine::kind::cpu, 0),
        stream_(engine_),
        masked_bias_(masked_bias(call)),
        scores_(rows(length_, length_), engine_),
        score_product_(make_score_product()),
        softmax_(make_softmax()),
        value_product_(make_value_product()) {}

  void run() {
    for (index_t h = 0; h < call_.q.shape[1]; ++h) {
      const memory q = of_head(rows(length_, head_dim_), &call_.q(0, h, 0, 0));
      const memory k = of_head(columns(length_, head_dim_), &call_.k(0, h, 0, 0));
      const memory v = of_head(rows(length_, head_dim_), &call_.v(0, h, 0, 0));
      const memory out = of_head(rows(length_, head_dim_), &call_.out(0, h, 0, 0));
      const memory added = of_head(rows(length_, length_),
                                   masked_bias_.data() + (call_.bias ? h * length_ * length_ : 0));
      score_product_.execute(stream_,
                             {{DNNL_ARG_SRC, q},
                              {DNNL_ARG_WEIGHTS, k},
                              {DNNL_ARG_DST, scores_},
                              {DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, added}});
      softmax_.execute(stream_, {{DNNL_ARG_SRC, scores_}, {DNNL_ARG_DST, scores_}});
      value_product_.execute(stream_,
                             {{DNNL_ARG_SRC, scores_}, {DNNL_ARG_WEIGHTS, v}, {DNNL_ARG_DST, out}});
    }
    stream_.wait();
  }

 private:
  dnnl::matmul make_score_product() const {
    dnnl::post_ops add;
    add.append_binary(dnnl::algorithm::binary_add, rows(length_, length_));
    dnnl::primitive_attr scaled_and_masked;
    scaled_and_masked.set_output_scales(0, {1.0f / std::sqrt(static_cast<float>(head_dim_))});
    scaled_and_masked.set_post_ops(add);
    const dnnl::matmul::desc product(rows(length_, head_dim_), columns(length_, head_dim_),
                                     rows(length_, length_));
    return dnnl::matmul({product, scaled_and_masked, engine_});
  }
  dnnl::softmax_forward make_softmax() const {
    const dnnl::softmax_forward::desc softmax(dnnl::prop_kind::forward_inference,
                                              rows(length_, length_), 1);
    return dnnl::softmax_forward({softmax, engine_});
  }
  dnnl::matmul make_value_product() const {
    const dnnl::matmul::desc product(rows(length_, length_), rows(length_, head_dim_),
                                     rows(length_, head_dim_));
    return dnnl::matmul({product, engine_});
  }

  /// oneDNN has one memory type for inputs and outputs.
  memory of_head(const memory::desc& shape, const float* data) const {
    return {shape, engine_, const_cast<float*>(data)};
  }

  peer_call call_;
  index_t length_;
  index_t head_dim_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::vector<float> masked_bias_;
  memory scores_;
  dnnl::matmul score_product_;
  dnnl::softmax_forward softmax_;
  dnnl::matmul value_product_;
};

std::function<void()> prepare(const peer_call& call) {
  omp_set_num_threads(1);
  const auto heads = std::make_shared<attention_of_heads>(call);
  return [heads] { heads->run(); };
}

std::string version() {
  const dnnl_version_t* const is = dnnl::version();
  return "oneDNN " + std::to_string(is->major) + "." + std::to_string(is->minor) + "." +
         std::to_string(is->patch);
}

}  // namespace

peer onednn() { return {"onednn", version(), "", prepare}; }

}  // namespace relpos::bench
