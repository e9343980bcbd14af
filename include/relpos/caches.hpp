#pragma once
// All caches of keys and values (cache/kv_cache.hpp).

#include "relpos/cache/append.hpp"
#include "relpos/cache/contiguous.hpp"
#include "relpos/cache/latent.hpp"
#include "relpos/cache/page_pool.hpp"
#include "relpos/cache/paged.hpp"
#include "relpos/cache/ring.hpp"
