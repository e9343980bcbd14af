// expect: cache_placement
#include <relpos/relpos.hpp>

struct nowhere {
  static constexpr bool evicts = false;
  static constexpr relpos::cache_cell cell(relpos::index_t, relpos::index_t row, relpos::index_t) {
    return {0, row};
  }
};

relpos::kv_cache<float, nowhere> cache;
