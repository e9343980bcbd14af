#pragma once
// The fused kernel against the same policies, one score at a time in double.

#include "support/attend.hpp"
#include "support/closeness.hpp"

namespace support {

template <class Real, class Query, class Key, class Value, class... Policies>
void run_reference(std::vector<Real>& out, std::vector<Real>& lse,
                   const relpos::view<const Query, 4>& q, const relpos::view<const Key, 4>& k,
                   const relpos::view<const Value, 4>& v, const relpos::options& opts,
                   const Policies&... policies) {
  tensor<Real> result({q.shape[0], q.shape[1], q.shape[2], v.shape[3]});
  tensor<Real, 3> sums({q.shape[0], q.shape[1], q.shape[2]});
  const relpos::status done =
      relpos::reference_attention(result.view(), sums.view(), q, k, v, policies..., opts);
  EXPECT_TRUE(done) << done.message;
  out = std::move(result.values);
  lse = std::move(sums.values);
}

/// The results of the reference, for any number of calls with these arguments.
struct reference_results {
  std::vector<double> exact_out, exact_lse;
  std::vector<float> naive_out, naive_lse;

  template <class Query, class Key, class Value, class... Policies>
  reference_results(const relpos::view<const Query, 4>& q, const relpos::view<const Key, 4>& k,
                    const relpos::view<const Value, 4>& v, const relpos::options& opts,
                    const Policies&... policies) {
    run_reference(exact_out, exact_lse, q, k, v, opts, policies...);
    run_reference(naive_out, naive_lse, q, k, v, opts, policies...);
  }

  template <class Out>
  void expect(const attended<Out>& got) const {
    expect_close(got.out.values, exact_out, float_tolerance(exact_out, naive_out), "out");
    expect_close(got.lse.values, exact_lse, float_tolerance(exact_lse, naive_lse, true), "lse");
  }
};

/// `got` (of attend with the same arguments) is what the reference says.
template <class Out, class Query, class Key, class Value, class... Policies>
void expect_reference(const attended<Out>& got, const relpos::view<const Query, 4>& q,
                      const relpos::view<const Key, 4>& k, const relpos::view<const Value, 4>& v,
                      const relpos::options& opts, const Policies&... policies) {
  reference_results(q, k, v, opts, policies...).expect(got);
}

template <class Out, class T, class... Policies>
void expect_reference(const attended<Out>& got, const inputs<T>& in, const relpos::options& opts,
                      const Policies&... policies) {
  expect_reference(got, in.q.view(), in.k.view(), in.v.view(), opts, policies...);
}

/// A call is what the reference says.
template <class T, class... Policies>
void expect_reference_of(const inputs<T>& in, const relpos::options& opts,
                         const Policies&... policies) {
  expect_reference(attend(in, opts, policies...), in, opts, policies...);
}

}  // namespace support
