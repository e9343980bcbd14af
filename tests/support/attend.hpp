#pragma once
// The library's attention on views, with everything around it that a caller owns: workspace of
// exactly the size asked for, full of NaN and of no alignment, and outputs that are NaN before the
// call. The memory around them is watched.

#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <cstring>
#include <vector>

#include "relpos/attention.hpp"
#include "support/random_tensors.hpp"

namespace support {

template <class T = float>
struct attended {
  tensor<T> out;
  tensor<float, 3> lse;
};

/// `bytes` bytes of 0xff, NaN in every format, between margins that nobody may write to.
class watched_memory {
 public:
  explicit watched_memory(std::size_t bytes, std::size_t misalignment = 0)
      : first_(margin + misalignment), bytes_(bytes), memory_(first_ + bytes + margin, watched) {
    std::memset(data(), 0xff, bytes);
  }

  void* data() { return memory_.data() + first_; }
  std::size_t bytes() const { return bytes_; }
  void copy_to(void* to) {
    if (bytes_ > 0) std::memcpy(to, data(), bytes_);
  }

  bool margins_are_untouched() const {
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      if ((i < first_ || i >= first_ + bytes_) && memory_[i] != watched) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t margin = 256;
  static constexpr unsigned char watched = 0xa5;

  std::size_t first_;
  std::size_t bytes_;
  std::vector<unsigned char> memory_;
};

/// The outputs and the workspace of one call.
struct watched_call {
  watched_memory out;
  watched_memory lse;
  watched_memory memory;

  relpos::workspace workspace() { return {memory.data(), memory.bytes()}; }

  /// Expects that the call was done, and wrote nothing else.
  void expect(const relpos::status& done) const {
    EXPECT_TRUE(done) << done.message;
    EXPECT_TRUE(out.margins_are_untouched()) << "written outside of out";
    EXPECT_TRUE(lse.margins_are_untouched()) << "written outside of lse";
    EXPECT_TRUE(memory.margins_are_untouched()) << "written outside of the workspace";
  }
};

/// `keys_and_policies` begin with k and v, or with a cache, of `value_dim` channels.
template <class Isa = relpos::native, class Out = float, class Executor, class Query,
          class... Arguments>
attended<Out> attend_watched(const Executor& runner, relpos::view<const Query, 4> q,
                             index_t value_dim, relpos::options opts,
                             const Arguments&... keys_and_policies) {
  attended<Out> result{tensor<Out>({q.shape[0], q.shape[1], q.shape[2], value_dim}),
                       tensor<float, 3>({q.shape[0], q.shape[1], q.shape[2]})};
  watched_call call{
      watched_memory(result.out.values.size() * sizeof(Out)),
      watched_memory(result.lse.values.size() * sizeof(float)),
      watched_memory(relpos::workspace_bytes<Isa>(runner, q, keys_and_policies..., opts), 20)};
  opts.lse = relpos::view<float, 3>(static_cast<float*>(call.lse.data()), result.lse.shape);
  const relpos::view<Out, 4> out(static_cast<Out*>(call.out.data()), result.out.shape);
  call.expect(relpos::attention<Isa>(runner, call.workspace(), out, q, keys_and_policies..., opts));
  call.out.copy_to(result.out.values.data());
  call.lse.copy_to(result.lse.values.data());
  return result;
}

template <class Isa = relpos::native, class Out = float, class Executor, class Query, class Key,
          class Value, class... Policies>
attended<Out> attend_on(const Executor& runner, relpos::view<const Query, 4> q,
                        relpos::view<const Key, 4> k, relpos::view<const Value, 4> v,
                        const relpos::options& opts, const Policies&... policies) {
  return attend_watched<Isa, Out>(runner, q, v.shape[3], opts, k, v, policies...);
}

template <class Isa = relpos::native, class Out = float, class Query, class Key, class Value,
          class... Policies>
attended<Out> attend(relpos::view<const Query, 4> q, relpos::view<const Key, 4> k,
                     relpos::view<const Value, 4> v, const relpos::options& opts,
                     const Policies&... policies) {
  return attend_on<Isa, Out>(relpos::serial{}, q, k, v, opts, policies...);
}

template <class Isa = relpos::native, class Out = float, class T, class... Policies>
attended<Out> attend(const inputs<T>& in, const relpos::options& opts,
                     const Policies&... policies) {
  return attend<Isa, Out>(in.q.view(), in.k.view(), in.v.view(), opts, policies...);
}

/// Equal to the last bit, so that -0 differs from 0 and a NaN equals itself.
template <class T, std::size_t Rank>
bool same_bits(const tensor<T, Rank>& a, const tensor<T, Rank>& b) {
  return a.shape == b.shape && (a.values.empty() || std::memcmp(a.values.data(), b.values.data(),
                                                                a.values.size() * sizeof(T)) == 0);
}

template <class T>
bool same_bits(const attended<T>& a, const attended<T>& b) {
  return same_bits(a.out, b.out) && same_bits(a.lse, b.lse);
}

}  // namespace support
