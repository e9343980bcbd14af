#pragma once
// A call in both kernels, against a definition and against the reference.

#include "support/naive.hpp"
#include "support/reference.hpp"

namespace support {

template <class... Policies>
void expect_both_kernels(const inputs<float>& in, relpos::options opts, const meaning& means,
                         const Policies&... policies) {
  const meant_results meant(in, means);
  const reference_results reference(in.q.view(), in.k.view(), in.v.view(), opts, policies...);
  for (const relpos::kernel_class kernel :
       {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
    SCOPED_TRACE(kernel == relpos::kernel_class::prefill ? "prefill" : "decode");
    opts.kernel = kernel;
    const auto got = attend(in, opts, policies...);
    meant.expect(got);
    reference.expect(got);
  }
}

}  // namespace support
