// The view form names no tensor type and needs no Eigen.
#include <relpos/views.hpp>

#include <cstddef>
#include <vector>

relpos::status call(std::vector<std::byte>& memory, float* out, const float* qkv,
                    relpos::bfloat16* cache) {
  // Packed [batch, position, 3, head, channel]
  const relpos::view<const float, 4> q(qkv, {1, 8, 128, 64}, {0, 64, 3 * 8 * 64, 1});
  const relpos::view<relpos::bfloat16, 4> k(cache, {1, 8, 128, 64});
  const relpos::view<const relpos::bfloat16, 4> v = k;
  const relpos::view<float, 4> to(out, {1, 8, 128, 64});
  return relpos::attention(relpos::serial{}, memory, to, q, k, v, relpos::causal{});
}
