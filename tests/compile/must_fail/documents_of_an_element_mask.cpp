// expect: relpos: the mask inside of documents or left_padding is one of key ranges
#include <relpos/relpos.hpp>

auto call(const std::vector<relpos::index_t>& starts) {
  return relpos::documents{starts, relpos::either{relpos::causal{}, relpos::sinks{4}}};
}
