// After `using namespace relpos;` the short names are relpos' own, and C and POSIX keep theirs.
#include <strings.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <relpos/relpos.hpp>
#include <vector>

using namespace relpos;

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor with_tensors(const tensor& q, const tensor& k, const tensor& v) {
  const std::vector<float> slopes = alibi_slopes(head_shard{0, 8, 8}, alibi_rule::geometric);
  return attention(q, k, v, alibi{slopes}, both{causal{}, band{64, 0}}, temperature{1.5},
                   options{.softcap = 30.0f});
}

status with_views(std::vector<std::byte>& memory, const view<float, 4>& rows,
                  const partial_state& state, const partial_state& other) {
  const rotary_frequencies frequencies = yarn_frequencies(64, 4.0, 4096);
  if (const status done = rotate(rows, frequencies, pair_layout::half_split, 0); !done) return done;
  memory.resize(workspace_bytes(serial{}, rows, rows, rows, full{}));
  const options opts{.query_offset = index_t{7}};
  if (const status done = partial(serial{}, memory, state, rows, rows, rows, full{}, opts); !done)
    return done;
  return merge(serial{}, state, other);
}

status with_a_cache(const contiguous_cache<float>& cache, const paged_cache<half>& pages,
                    page_pool& pool, const view<const float, 4>& rows) {
  if (const status done = append(serial{}, cache, rows, rows); !done) return done;
  if (const status done = pool.fork(pages, 0, 1); !done) return done;
  return truncate(cache, 0, 12);
}

struct own_bias {
  float reach;
  template <class Real>
  Real bias(Real distance) const {
    return select(abs(distance) < Real(reach), min(distance, Real(0)), max(distance, Real(-1)));
  }
};
struct own_mask {
  key_range visible_keys(index_t position) const { return {0, std::max<index_t>(position, 4)}; }
};
static_assert(policy<own_bias> && policy<own_mask>);

// Names whose use would compile one kernel after another.
template <class... Policies>
inline constexpr bool are_policies = (policy<Policies> && ...);
static_assert(are_policies<full, causal, band, blockwise_causal, chunked_causal, block_lower,
                           prefix, sinks, documents<>, left_padding<>, right_padding, key_ranges,
                           tree, either<prefix, sinks>>);
static_assert(
    are_policies<alibi_symmetric, alibi_two_sided, alibi_offset, alibi_one_sided, t5_bias,
                 additive_bias, mixed_bias, rotary, token_positions, sink_logits, row_sink_logits>);
static_assert(are_policies<temperature, head_temperature, log_n, ssmax, position_log,
                           position_power, head_position_log>);
using caches = std::tuple<ring_cache<bfloat16>, paged_cache<int8>, cache_memory<float>>;
using others = std::tuple<t5_buckets, borrowed_data, borrowed_values<index_t>, row_statistics,
                          sharpness, rotary_table, workspace, status_code>;

// The functions of C and POSIX that share a name.
int not_ours(const char* path, int descriptor, fd_set* set, const sockaddr* address, double x) {
  if (::truncate(path, 0) != 0 || truncate(path, 0) != 0) return -1;
  if (select(descriptor, set, nullptr, nullptr, nullptr) < 0) return -1;
  if (bind(descriptor, address, 16) != 0) return -1;
  return abs(descriptor) + static_cast<int>(std::abs(x) + fma(x, x, x) + exp2(x) + tanh(x));
}
