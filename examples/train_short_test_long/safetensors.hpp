#pragma once
// Tensors from a file in the format safetensors: the length of a header, the header in JSON, data.
// https://huggingface.co/docs/safetensors

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace extrapolation {

struct stored_tensor {
  std::vector<long> shape;
  std::vector<float> values;
};

class safetensors {
 public:
  /// Reads the tensors of a file, `bytes`, of F16, BF16 and F32. Throws std::runtime_error, with a
  /// message of one line that begins with `name`, for a file that is truncated or breaks the
  /// format.
  safetensors(const std::string& name, std::string_view bytes);

  bool has(const std::string& tensor) const { return tensors_.contains(tensor); }
  /// Throws std::runtime_error if there is no tensor of that name and shape.
  const std::vector<float>& values(const std::string& tensor, const std::vector<long>& shape) const;

 private:
  std::string name_;
  std::map<std::string, stored_tensor> tensors_;
};

}  // namespace extrapolation
