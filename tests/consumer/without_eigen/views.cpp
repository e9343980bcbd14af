#include <relpos/attention.hpp>
#include <relpos/caches.hpp>
#include <relpos/policies.hpp>
#include <relpos/views.hpp>
#include <vector>

#ifdef EIGEN_WORLD_VERSION
#error "Eigen was included"
#endif

// No call of attention, which tests/no_exceptions compiles without Eigen: it takes long.
int main() {
  const std::vector<float> slopes = relpos::alibi_slopes(8);
  const relpos::view<const float, 2> row(slopes.data(), {1, 8});
  const relpos::status fits =
      relpos::alibi{slopes}.check({.batch = 1, .query_heads = 8, .key_heads = 8});
  return fits && row(0, 0) == 0.5f ? 0 : 1;
}
