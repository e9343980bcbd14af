#pragma once
// All caches of keys and values (kv_cache/kv_cache.hpp).

#include "relpos/kv_cache/append.hpp"
#include "relpos/kv_cache/contiguous.hpp"
#include "relpos/kv_cache/latent.hpp"
#include "relpos/kv_cache/page_pool.hpp"
#include "relpos/kv_cache/paged.hpp"
#include "relpos/kv_cache/ring.hpp"
