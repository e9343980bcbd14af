// Which kernels a call takes, in which order and over how many blocks, and that none is launched
// when one of them cannot be.

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "device.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::half;
using relpos::index_t;

template <class Kernel>
inline constexpr const char* name_of = "?";
template <int HeadDim, class Call>
inline constexpr const char* name_of<relpos::prefill_kernel<HeadDim, Call>> = "prefill";
template <int HeadDim, class Call>
inline constexpr const char* name_of<relpos::decode_kernel<HeadDim, Call>> = "decode";
template <int HeadDim, class Call>
inline constexpr const char* name_of<relpos::decode_merge_kernel<HeadDim, Call>> = "merge";
template <int HeadDim, class Call>
inline constexpr const char* name_of<relpos::rotate_keys_kernel<HeadDim, Call>> = "rotate";
template <int HeadDim, class Call>
inline constexpr const char* name_of<relpos::rotate_tokens_kernel<HeadDim, Call>> = "rotate_tokens";
template <int HeadDim, class Call>
inline constexpr const char* name_of<relpos::measure_keys_kernel<HeadDim, Call>> = "measure";

/// Writes down what it is asked for, and fails at the `fails_at`th.
struct recorder {
  std::vector<std::string>& record;
  std::string fails_at;

  relpos::status answer(const std::string& what) const {
    record.push_back(what);
    if (what != fails_at) return {};
    return relpos::status::error(relpos::status_code::device, "%s", what.c_str());
  }
  static relpos::status copy(void*, const void*, std::size_t) { return {}; }
  template <class Kernel>
  relpos::status admit() const {
    return answer(std::string("admit ") + name_of<Kernel>);
  }
  template <class Kernel>
  relpos::status launch(const Kernel&, const relpos::block_grid& blocks) const {
    return answer(std::string(name_of<Kernel>) + " " + std::to_string(blocks.x) + " " +
                  std::to_string(blocks.y) + " " + std::to_string(blocks.z));
  }
};

using lines = std::vector<std::string>;

/// The launches of a call with 4 query heads that share 2 key heads.
template <class... Policies>
lines launches(index_t queries, index_t keys, const std::string& fails_at, relpos::options opts,
               const Policies&... policies) {
  const auto in = support::random_inputs<half>({.query_heads = 4,
                                                .key_heads = 2,
                                                .query_length = queries,
                                                .key_length = keys,
                                                .head_dim = 64,
                                                .value_dim = 64},
                                               1);
  support::tensor<float> out({1, 4, queries, 64});
  const relpos::tensor_views<half, half> source{in.k.view(), in.v.view(), opts.key_starts};
  const auto problem = relpos::make_problem(out.view(), relpos::view<const half, 4>(in.q.view()),
                                            source, {}, opts, std::tuple<Policies...>(policies...));
  const relpos::device_workspace_bytes bytes = relpos::measure_device_workspace(problem);
  std::vector<std::byte> device(bytes.device), host(bytes.host);
  lines record;
  const relpos::status done = relpos::run_device_call<relpos::head_dims<64>>(
      recorder{record, fails_at}, problem, {device, host});
  EXPECT_EQ(done.code == relpos::status_code::ok, fails_at.empty());
  return record;
}

const std::vector<float> slopes{0.1f, 0.2f, 0.3f, 0.4f};

TEST(launches, of_many_queries) {
  EXPECT_EQ(launches(130, 200, "", {}, relpos::causal{}),
            (lines{"admit prefill", "prefill 2 4 1"}));
  // Tiles of 64 keys, four of them a block.
  EXPECT_EQ(launches(130, 600, "", {}, relpos::alibi{slopes}, relpos::causal{}),
            (lines{"admit prefill", "measure 3 2 1", "prefill 2 4 1"}));
  const relpos::rotary_table table(relpos::rope_frequencies(64), relpos::pair_layout::half_split);
  EXPECT_EQ(launches(130, 200, "", {}, relpos::rotary{table}, relpos::causal{}),
            (lines{"admit prefill", "rotate 50 2 1", "prefill 2 4 1"}));
}

TEST(launches, of_few_queries) {
  // Two heads of a group, of 9 queries: two blocks of rows, for each of five chunks of 256 keys.
  EXPECT_EQ(launches(9, 1100, "", {.kernel = relpos::kernel_class::decode}, relpos::causal{}),
            (lines{"admit decode", "decode 10 2 1", "merge 9 4 1"}));
  // The window lies in the last chunk.
  EXPECT_EQ(launches(1, 1100, "", {}, relpos::band{50, 0}),
            (lines{"admit decode", "decode 1 2 1", "merge 1 4 1"}));
  EXPECT_EQ(launches(1, 0, "", {}, relpos::causal{}), (lines{"admit decode", "merge 1 4 1"}));
}

TEST(launches, of_both_in_a_batch) {
  const std::vector<index_t> queries{0, 1, 101};
  const std::vector<index_t> keys{0, 600, 750};
  EXPECT_EQ(
      launches(101, 750, "", {.query_starts = queries, .key_starts = keys}, relpos::causal{}),
      (lines{"admit prefill", "admit decode", "decode 3 2 2", "merge 1 4 2", "prefill 1 4 2"}));
}

TEST(launches, end_where_one_fails) {
  const std::vector<index_t> queries{0, 1, 101};
  const std::vector<index_t> keys{0, 600, 750};
  const relpos::options both{.query_starts = queries, .key_starts = keys};
  EXPECT_EQ(launches(101, 750, "admit decode", both, relpos::causal{}),
            (lines{"admit prefill", "admit decode"}));
  EXPECT_EQ(launches(101, 750, "decode 3 2 2", both, relpos::causal{}),
            (lines{"admit prefill", "admit decode", "decode 3 2 2"}));
}

}  // namespace
