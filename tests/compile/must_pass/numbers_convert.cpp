#include <relpos/views.hpp>

#include <cstddef>
#include <cstdint>

const relpos::temperature temperatures[] = {relpos::temperature{0.85}, relpos::temperature{0.85f},
                                            relpos::temperature{1},    relpos::temperature{2u},
                                            relpos::temperature{3L},   relpos::temperature{0.5L}};

const relpos::band bands[] = {relpos::band{1u, 2L}, relpos::band{std::size_t{3}, 0},
                              relpos::band{std::int16_t{4}, relpos::index_t{5}},
                              relpos::band{128, 0}};

const relpos::options options{.scale = 1, .softcap = 30, .query_offset = 5, .key_offset = 7u};
