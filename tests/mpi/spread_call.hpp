#pragma once
// A call over rows spread on ranks, beside the definition over the whole sequence in float64.

#include <gtest/gtest.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "relpos/mpi.hpp"
#include "relpos/policies.hpp"
#include "support/closeness.hpp"
#include "support/random_tensors.hpp"

namespace support {

inline int ranks_of_world() {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

/// The rows of this rank, of [batch, head, position, channel].
template <class T>
tensor<T> rows_of_rank(const tensor<T>& whole, const relpos::mpi::sequence_shards& shards,
                       int rank) {
  std::array<index_t, 4> shape = whole.shape;
  shape[2] = shards.rows(rank);
  const index_t first = relpos::mpi::hull_of(shards).first;  // the position of row 0
  tensor<T> result(shape);
  for (index_t b = 0; b < shape[0]; ++b) {
    for (index_t h = 0; h < shape[1]; ++h) {
      index_t row = 0;
      for (const relpos::key_range& piece : shards.of(rank)) {
        for (index_t position = piece.first; position < piece.last; ++position, ++row) {
          for (index_t c = 0; c < shape[3]; ++c) {
            result(b, h, row, c) = whole(b, h, position - first, c);
          }
        }
      }
    }
  }
  return result;
}

/// This rank's rows of [batch, head, query, number].
template <class T>
tensor<T> own(const tensor<T>& whole, const relpos::mpi::group& ranks) {
  return rows_of_rank(whole, ranks.queries(), ranks.rank());
}

/// A sequence over itself: two entries, two query heads for each of two key heads.
inline inputs<float> self_attention(index_t length, std::uint32_t seed) {
  return random_inputs({.batch = 2,
                        .query_heads = 4,
                        .key_heads = 2,
                        .query_length = length,
                        .key_length = length,
                        .head_dim = 12,
                        .value_dim = 5},
                       seed);
}

/// use(length, shards) for both ways of cutting, and for lengths down to fewer rows than ranks.
template <class Use>
void for_each_spread(const Use& use) {
  const int ranks = ranks_of_world();
  for (const index_t length : {1, 3, 57, 400}) {
    for (const bool zigzag : {false, true}) {
      SCOPED_TRACE(testing::Message() << length << " rows, " << (zigzag ? "zigzag" : "contiguous"));
      use(length, zigzag ? relpos::mpi::zigzag_shards(length, ranks)
                         : relpos::mpi::contiguous_shards(length, ranks));
    }
  }
}

/// [batch, head, row] as [batch, head, row, 1].
inline tensor<double> with_channel(const tensor<double, 3>& rows) {
  tensor<double> result({rows.shape[0], rows.shape[1], rows.shape[2], 1});
  result.values = rows.values;
  return result;
}

template <class T = float>
struct spread_result {
  tensor<T> out;
  tensor<float, 3> lse;
  relpos::status status;
  relpos::mpi::traffic traffic;
};

/// The call over this rank's rows of `in`.
template <class Out = float, class T, class... Arguments>
spread_result<Out> attend_spread(const relpos::mpi::group& ranks, const inputs<T>& in,
                                 relpos::options opts, const Arguments&... policies) {
  const tensor<T> q = rows_of_rank(in.q, ranks.queries(), ranks.rank());
  const tensor<T> k = rows_of_rank(in.k, ranks.keys(), ranks.rank());
  const tensor<T> v = rows_of_rank(in.v, ranks.keys(), ranks.rank());
  const std::array<index_t, 4> shape{q.shape[0], q.shape[1], q.shape[2], v.shape[3]};
  spread_result<Out> result{tensor<Out>(shape, Out(not_a_number)),
                            tensor<float, 3>({shape[0], shape[1], shape[2]}, not_a_number),
                            {},
                            {}};
  opts.lse = result.lse.view();
  auto call = relpos::mpi::prepare(relpos::serial(), ranks, result.out.view(), q.view(), k.view(),
                                   v.view(), policies..., opts);
  result.status = call.run(relpos::serial(), &result.traffic);
  return result;
}

/// Expects the rows of this rank to equal the definition over the whole sequence: `whole`
/// are its policies, `own` this rank's.
template <class Out = float, class T, class... Policies>
spread_result<Out> expect_spread_of(const relpos::mpi::group& ranks, const inputs<T>& in,
                                    const relpos::options& opts,
                                    const std::tuple<Policies...>& whole_policies,
                                    const std::tuple<Policies...>& own_policies) {
  const spread_result<Out> got = std::apply(
      [&](const auto&... policies) { return attend_spread<Out>(ranks, in, opts, policies...); },
      own_policies);
  EXPECT_TRUE(got.status) << got.status.message;

  const std::array<index_t, 4> shape{in.q.shape[0], in.q.shape[1], in.q.shape[2], in.v.shape[3]};
  const std::array<index_t, 3> rows{shape[0], shape[1], shape[2]};
  relpos::options whole = opts;
  whole.query_offset = relpos::mpi::hull_of(ranks.queries()).first;
  whole.key_offset = relpos::mpi::hull_of(ranks.keys()).first;
  tensor<double> exact(shape);
  tensor<double, 3> exact_lse(rows);
  tensor<float> naive(shape);
  tensor<float, 3> naive_lse(rows);
  const auto define = [&]<class Real>(tensor<Real>& out, tensor<Real, 3>& lse) {
    const relpos::status done = std::apply(
        [&](const auto&... policies) {
          return relpos::reference_attention<Real>(out.view(), lse.view(), in.q.view(), in.k.view(),
                                                   in.v.view(), policies..., whole);
        },
        whole_policies);
    EXPECT_TRUE(done) << done.message;
  };
  define(exact, exact_lse);
  define(naive, naive_lse);

  // States of up to ranks x 4 pieces are merged, each with a few roundings.
  const double tolerance = 2.0 * float_tolerance(exact.values, naive.values, true);
  const double lse_tolerance = 2.0 * float_tolerance(exact_lse.values, naive_lse.values, true);
  expect_close(got.out.values, rows_of_rank(exact, ranks.queries(), ranks.rank()).values, tolerance,
               "out");
  expect_close(got.lse.values,
               rows_of_rank(with_channel(exact_lse), ranks.queries(), ranks.rank()).values,
               lse_tolerance, "lse");
  return got;
}

/// The same for policies that are equal on all ranks.
template <class Out = float, class T, class... Policies>
spread_result<Out> expect_spread(const relpos::mpi::group& ranks, const inputs<T>& in,
                                 const relpos::options& opts, const Policies&... policies) {
  const std::tuple<Policies...> all(policies...);
  return expect_spread_of<Out>(ranks, in, opts, all, all);
}

/// expect_spread with these policies, for each spread.
template <class... Policies>
void expect_each_spread(const relpos::options& opts, const Policies&... policies) {
  for_each_spread([&](index_t length, const relpos::mpi::sequence_shards& shards) {
    const relpos::mpi::group ranks(MPI_COMM_WORLD, shards);
    expect_spread(ranks, self_attention(length, 3), opts, policies...);
  });
}

}  // namespace support
