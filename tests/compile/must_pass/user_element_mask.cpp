// A mask of one's own that is asked element by element, and by tiles.
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

struct dilated {
  bool keep(relpos::index_t q_pos, relpos::index_t k_pos) const { return (q_pos - k_pos) % 4 == 0; }
};

struct first_keys {
  relpos::index_t count;
  bool keep(relpos::index_t, relpos::index_t k_pos) const { return k_pos < count; }
  relpos::tile_class classify(const relpos::tile& tile) const {
    if (tile.first_key >= count) return relpos::tile_class::skip;
    return tile.last_key <= count ? relpos::tile_class::full : relpos::tile_class::partial;
  }
};

tensor call(const tensor& q, const tensor& k, const tensor& v) {
  return relpos::attention(q, k, v, dilated{}, first_keys{1000});
}
