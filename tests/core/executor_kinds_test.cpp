// Loops and teams of the caller's as executors: each item once, workers apart, and the bits of
// serial.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "relpos/caches.hpp"
#include "relpos/policies.hpp"
#include "support/attend.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;

using any_loop = std::function<void(index_t, std::function<void(index_t)>)>;

void in_order(index_t count, std::function<void(index_t)> run_item) {
  for (index_t i = 0; i < count; ++i) run_item(i);
}
void backwards(index_t count, std::function<void(index_t)> run_item) {
  for (index_t i = count; i-- > 0;) run_item(i);
}
void on_threads(index_t count, std::function<void(index_t)> run_item) {
  std::vector<std::thread> threads;
  for (index_t i = 0; i < count; ++i) threads.emplace_back(run_item, i);
  for (std::thread& each : threads) each.join();
}
const std::vector<any_loop> loops{in_order, backwards, on_threads};
const std::vector<index_t> team_sizes{1, 2, 3, 7};
const std::vector<index_t> item_counts{0, 1, 2, 6, 7, 8, 500};

struct arrive {
  std::barrier<>* gate;
  void operator()() const { gate->arrive_and_wait(); }
};
using member = relpos::team_member<arrive>;
static_assert(relpos::executor<relpos::on_loop<any_loop>> && relpos::executor<member>);

/// call(member) on each thread of a team.
template <class Call>
void on_team(index_t size, const Call& call) {
  std::barrier<> gate(static_cast<std::ptrdiff_t>(size));
  std::vector<std::thread> threads;
  for (index_t t = 0; t < size; ++t) {
    threads.emplace_back([&gate, &call, t, size] { call(member(t, size, arrive{&gate})); });
  }
  for (std::thread& each : threads) each.join();
}

/// Counts what is run, and whether a worker is ever used by two at once.
class watched_items {
 public:
  watched_items(index_t items, index_t workers)
      : runs_(static_cast<std::size_t>(items)), busy_(static_cast<std::size_t>(workers)) {}

  void operator()(index_t item, index_t worker) {
    if (worker < 0 || worker >= static_cast<index_t>(busy_.size())) {
      ++faults_;
      return;
    }
    auto& busy = busy_[static_cast<std::size_t>(worker)];
    if (busy.exchange(true)) ++faults_;
    ++runs_[static_cast<std::size_t>(item)];
    std::this_thread::yield();
    busy = false;
  }
  bool each_ran_once() const {
    return faults_ == 0 &&
           std::all_of(runs_.begin(), runs_.end(), [](const auto& runs) { return runs == 1; });
  }

 private:
  std::vector<std::atomic<int>> runs_;
  std::vector<std::atomic<bool>> busy_;
  std::atomic<int> faults_{0};
};

TEST(on_loop, runs_each_item_once_in_workers_of_its_own) {
  for (const any_loop& loop : loops) {
    for (const index_t workers : team_sizes) {
      const relpos::on_loop runner{loop, workers};
      ASSERT_EQ(runner.workers(), workers);
      for (const index_t count : item_counts) {
        watched_items items(count, workers);
        runner.run(count, [&](index_t i, index_t worker) { items(i, worker); });
        EXPECT_TRUE(items.each_ran_once()) << count << " items, " << workers << " workers";
      }
    }
  }
}

TEST(on_loop, asks_for_no_more_at_once_than_there_are_threads_and_items) {
  index_t asked = -1;
  const any_loop loop = [&](index_t count, const auto& run_item) {
    asked = count;
    in_order(count, run_item);
  };
  const relpos::on_loop runner{loop, 4};
  for (const index_t count : item_counts) {
    runner.run(count, [](index_t, index_t) {});
    EXPECT_EQ(asked, std::min<index_t>(count, 4));
  }
}

// Several runs one after the other: none begins before the one before has ended on all threads.
TEST(team_member, runs_each_item_once_in_workers_of_its_own) {
  for (const index_t size : team_sizes) {
    for (const index_t count : item_counts) {
      watched_items first(count, size);
      watched_items second(count, size);
      std::atomic<index_t> done{0};
      std::atomic<int> early{0};
      on_team(size, [&](const member& runner) {
        EXPECT_EQ(runner.workers(), size);
        runner.run(count, [&](index_t i, index_t worker) {
          first(i, worker);
          ++done;
        });
        runner.run(count, [&](index_t i, index_t worker) {
          if (done != count) ++early;
          second(i, worker);
        });
      });
      EXPECT_TRUE(first.each_ran_once()) << count << " items, " << size << " threads";
      EXPECT_TRUE(second.each_ran_once()) << count << " items, " << size << " threads";
      EXPECT_EQ(early, 0);
    }
  }
}

const std::vector<float> slopes{0.3f, 0.02f, 0.1f, 0.0f};

double wave(index_t head, index_t distance) {
  return std::sin(0.1 * static_cast<double>(distance)) * static_cast<double>(head + 1);
}

/// One call with every kind of table and of prepared rows, on any executor.
struct shared_call {
  inputs<float> in;
  relpos::options opts;
  attended<float> to;
  relpos::rotary_table rope{relpos::rope_frequencies(16), relpos::pair_layout::half_split};
  relpos::relative_bias<double (*)(index_t, index_t)> bias{wave};
  std::vector<std::byte> memory;

  shared_call(const support::sizes& of, const relpos::options& how)
      : in(support::random_inputs(of, 77)), opts(how) {
    to.out = support::tensor<float>({of.batch, of.query_heads, of.query_length, of.value_dim},
                                    support::not_a_number);
    to.lse = support::tensor<float, 3>({of.batch, of.query_heads, of.query_length},
                                       support::not_a_number);
    opts.lse = to.lse.view();
  }
  template <class Executor>
  void lend(const Executor& runner) {
    memory.assign(relpos::workspace_bytes(runner, in.q.view(), in.k.view(), in.v.view(),
                                          relpos::rotary{rope}, bias, relpos::causal{}, opts),
                  std::byte{0xff});
  }
  template <class Executor>
  relpos::status run(const Executor& runner) {
    return relpos::attention(runner, memory, to.out.view(), std::as_const(in.q).view(),
                             std::as_const(in.k).view(), std::as_const(in.v).view(),
                             relpos::rotary{rope}, bias, relpos::causal{}, opts);
  }
};

support::sizes size_of(index_t batch, index_t queries, index_t keys) {
  return {.batch = batch,
          .query_heads = 4,
          .key_heads = 2,
          .query_length = queries,
          .key_length = keys,
          .head_dim = 16,
          .value_dim = 9};
}

/// On every kind of executor, with the bits of serial. The default kernel decodes one query row.
void expect_bits_of_serial(const support::sizes& of, const relpos::options& opts) {
  SCOPED_TRACE(testing::Message() << of.query_length << " queries, " << of.key_length << " keys");
  shared_call serially(of, opts);
  serially.lend(relpos::serial{});
  const relpos::status done = serially.run(relpos::serial{});
  ASSERT_TRUE(done) << done.message;
  for (const float value : serially.to.out.values) ASSERT_FALSE(std::isnan(value));
  for (const index_t size : team_sizes) {
    for (const any_loop& loop : loops) {
      shared_call call(of, opts);
      const relpos::on_loop runner{loop, size};
      call.lend(runner);
      ASSERT_TRUE(call.run(runner));
      EXPECT_TRUE(same_bits(call.to, serially.to)) << "loop, " << size << " workers";
    }
    for (int times = 0; times < 3; ++times) {
      shared_call call(of, opts);
      call.lend(member(0, size, arrive{nullptr}));
      std::atomic<index_t> good{0};
      on_team(size, [&](const member& runner) {
        if (call.run(runner)) ++good;
      });
      EXPECT_EQ(good, size);
      EXPECT_TRUE(same_bits(call.to, serially.to)) << "team of " << size;
    }
  }
}

TEST(executor_kinds, give_the_bits_of_serial) {
  expect_bits_of_serial(size_of(1, 1, 2500), {});
  expect_bits_of_serial(size_of(3, 5, 700), {});
  expect_bits_of_serial(size_of(2, 150, 300), {});
  expect_bits_of_serial(size_of(1, 0, 7), {});
  expect_bits_of_serial(size_of(2, 3, 0), {});
}

TEST(executor_kinds, give_the_bits_of_serial_where_sequences_differ) {
  const std::vector<index_t> queries{0, 1, 1, 90, 100};
  const std::vector<index_t> keys{0, 1200, 1210, 1350, 1360};
  const std::vector<index_t> offsets{9000, 0, 20, 1 << 20};
  expect_bits_of_serial(size_of(1, 100, 1360), {.query_starts = queries, .key_starts = keys});
  expect_bits_of_serial(size_of(1, 100, 1360),
                        {.query_offsets = offsets, .query_starts = queries, .key_starts = keys});
}

TEST(executor_kinds, a_refused_call_returns_on_every_thread_and_reaches_no_barrier) {
  const auto expect_refused = [](const relpos::status_code code, auto spoil) {
    shared_call call(size_of(1, 40, 50), {});
    call.lend(member(0, 3, arrive{nullptr}));
    spoil(call);
    std::vector<std::thread> threads;
    std::atomic<int> refused{0};
    for (index_t t = 0; t < 3; ++t) {
      // A member that arrived anywhere would read a null barrier.
      threads.emplace_back([&call, &refused, code, t] {
        if (call.run(member(t, index_t{3}, arrive{nullptr})).code == code) ++refused;
      });
    }
    for (std::thread& each : threads) each.join();
    EXPECT_EQ(refused, 3);
    for (const float value : call.to.out.values) EXPECT_TRUE(std::isnan(value));
  };
  expect_refused(relpos::status_code::invalid_value,
                 [](shared_call& call) { call.opts.softcap = -1.0f; });
  expect_refused(relpos::status_code::workspace_too_small,
                 [](shared_call& call) { call.memory.resize(call.memory.size() - 1); });
  expect_refused(relpos::status_code::invalid_shape,
                 [](shared_call& call) { call.in.k.shape[3] = 8; });
}

TEST(executor_kinds, without_a_worker_are_refused) {
  shared_call call(size_of(1, 1, 5), {});
  const relpos::on_loop one{loops[0], 1};
  call.lend(one);
  for (const index_t workers : {0, -3}) {
    const relpos::status done = call.run(relpos::on_loop{loops[0], workers});
    EXPECT_EQ(done.code, relpos::status_code::invalid_value);
    EXPECT_NE(std::strstr(done.message, "executor: workers()"), nullptr) << done.message;
  }
}

TEST(executor_kinds, that_can_run_nothing_are_refused) {
  std::barrier<> gate(1);
  const support::tensor<float> rows({1, 1, 2, 4}, 1.0f);
  const support::tensor<float> untouched({1, 1, 2, 4}, 7.0f);
  std::vector<std::byte> memory(1 << 20);
  const auto expect_refused = [&](const auto& runner) {
    support::tensor<float> out = untouched;
    support::tensor<float, 3> lse({1, 1, 2}, 7.0f);
    const auto expect = [](const relpos::status& got) {
      EXPECT_EQ(got.code, relpos::status_code::invalid_value);
      EXPECT_NE(std::string(got.message).find("executor: workers() is 0"), std::string::npos)
          << got.message;
    };
    expect(relpos::attention(runner, memory, out.view(), rows.view(), rows.view(), rows.view()));
    const support::tensor<float, 3> sums({1, 1, 2}, 1.0f);
    support::tensor<float> other_out = rows;
    support::tensor<float, 3> other_lse = sums;
    expect(relpos::merge(runner, {out.view(), lse.view()}, {other_out.view(), other_lse.view()}));
    std::vector<index_t> lengths{0};
    support::tensor<float> keys = untouched;
    support::tensor<float> values = untouched;
    expect(relpos::append(runner,
                          relpos::contiguous_cache<float>{{keys.view(), values.view()}, lengths},
                          rows.view(), rows.view()));
    for (const auto* const each : {&out, &keys, &values}) {
      EXPECT_TRUE(support::same_bits(*each, untouched));
    }
    EXPECT_EQ(lengths[0], 0);
  };
  expect_refused(relpos::on_loop{any_loop(in_order), 0});
  for (const auto& [thread, threads] : {std::pair<index_t, index_t>{0, 0}, {3, 3}, {-1, 2}}) {
    expect_refused(member(thread, threads, arrive{&gate}));
  }
}

}  // namespace
