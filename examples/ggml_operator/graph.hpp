#pragma once
// A graph of ggml with its tensors, filled with numbers that repeat from run to run.

#include <ggml-cpu.h>
#include <ggml.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

class graph {
 public:
  using extents = std::array<std::int64_t, 4>;

  explicit graph(std::size_t megabytes = 64)
      : context_(ggml_init({megabytes << 20, nullptr, false}), &ggml_free) {}

  ggml_context* context() const { return context_.get(); }

  /// A tensor of normally distributed numbers, rounded to the type.
  ggml_tensor* normal(ggml_type type, const extents& ne, unsigned seed) const {
    ggml_tensor* const result = ggml_new_tensor(context(), type, 4, ne.data());
    std::mt19937 numbers(seed);
    std::normal_distribution<float> draw;
    std::vector<float> drawn(static_cast<std::size_t>(ggml_nelements(result)));
    for (float& each : drawn) each = draw(numbers);
    store(result, drawn);
    return result;
  }

  ggml_tensor* tensor(ggml_type type, const extents& ne, const std::vector<float>& numbers) const {
    ggml_tensor* const result = ggml_new_tensor(context(), type, 4, ne.data());
    store(result, numbers);
    return result;
  }

  /// Makes a graph of what `out` needs, and returns it with memory for its computation.
  class plan {
   public:
    plan(const graph& owner, ggml_tensor* out, int threads)
        : graph_(ggml_new_graph(owner.context())), out_(out) {
      ggml_build_forward_expand(graph_, out);
      plan_ = ggml_graph_plan(graph_, threads, nullptr);
      work_.resize(plan_.work_size);
      plan_.work_data = work_.data();
    }
    bool compute() { return ggml_graph_compute(graph_, &plan_) == GGML_STATUS_SUCCESS; }
    std::vector<float> numbers() const {
      const auto* const first = static_cast<const float*>(out_->data);
      return {first, first + ggml_nelements(out_)};
    }

   private:
    ggml_cgraph* graph_;
    ggml_tensor* out_;
    ggml_cplan plan_;
    std::vector<std::uint8_t> work_;
  };

  /// The numbers of a contiguous float32 tensor, after computing it.
  std::vector<float> compute(ggml_tensor* out, int threads = 2) const {
    plan computation(*this, out, threads);
    return computation.compute() ? computation.numbers() : std::vector<float>();
  }

 private:
  static void store(ggml_tensor* tensor, const std::vector<float>& numbers) {
    if (tensor->type == GGML_TYPE_F32) {
      std::copy(numbers.begin(), numbers.end(), static_cast<float*>(tensor->data));
    } else {
      ggml_get_type_traits(tensor->type)
          ->from_float_ref(numbers.data(), tensor->data, ggml_nelements(tensor));
    }
  }

  std::unique_ptr<ggml_context, decltype(&ggml_free)> context_;
};
