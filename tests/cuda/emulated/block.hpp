#pragma once
// A thread block on the CPU: every thread is a fiber, and instructions are acted out by their
// definitions in the PTX ISA, over the registers of all lanes. It behaves worse than a GPU
// in order to find mistakes: a copy arrives as late as its wait allows, NaN stands in memory until
// then, and between barriers threads run one after the other, in several orders.

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "relpos/cuda/arch/arch.hpp"

namespace support {

/// In what order threads run between barriers.
enum class thread_order { up, down, interleaved };

class emulated_block {
  struct pending_copy {
    void* to;
    const void* from;  // null for zeros

    void arrive() const {
      if (from == nullptr) {
        std::memset(to, 0, 16);
      } else {
        std::memcpy(to, from, 16);
      }
    }
  };
  struct thread_state {
    ucontext_t context;
    std::unique_ptr<std::byte[]> stack;
    bool done = false;
    bool waits = false;
    std::byte number[8] = {};
    bool condition = false;
    const void* address = nullptr;
    std::uint32_t registers[6] = {};
    std::vector<pending_copy> copies;
    std::vector<std::vector<pending_copy>> groups;
  };
  /// Threads that wait for each other.
  struct meeting {
    int first;
    int count;
    int arrived = 0;
  };

 public:
  static constexpr int lanes = relpos::warp_lanes;

  /// One thread's view.
  class arch {
   public:
    arch(emulated_block& block, int thread) : block_(block), thread_(thread) {}

    int thread() const { return thread_; }
    std::byte* shared() { return block_.shared_; }
    void sync() { block_.meet(thread_, block_.all_); }
    bool sync_any(bool condition) {
      own().condition = condition;
      sync();
      bool result = false;
      for (const thread_state& each : block_.threads_) result = result || each.condition;
      sync();
      return result;
    }
    void sync_warp() { block_.meet(thread_, warp()); }

    template <class Number>
    Number shuffle_xor(Number x, int mask) {
      std::memcpy(own().number, &x, sizeof x);
      sync_warp();
      Number result;
      std::memcpy(&result, of_lane(lane() ^ mask).number, sizeof result);
      sync_warp();
      return result;
    }
    bool any(bool condition) {
      own().condition = condition;
      sync_warp();
      bool result = false;
      for (int i = 0; i < lanes; ++i) result = result || of_lane(i).condition;
      sync_warp();
      return result;
    }
    static float exp2(float x) { return x < -126.0f ? 0.0f : std::exp2(x); }
    static float tanh(float x) { return std::tanh(x); }
    static float sqrt(float x) { return std::sqrt(x); }

    void copy(void* to, const void* from, bool exists) {
      block_.check_shared(to, 16);
      check_aligned(to);
      check_aligned(from);
      std::memset(to, 0xff, 16);
      own().copies.push_back({to, exists ? from : nullptr});
    }
    void commit() {
      own().groups.push_back(std::move(own().copies));
      own().copies.clear();
    }
    template <int Pending>
    void wait() {
      auto& groups = own().groups;
      while (groups.size() > Pending) {
        for (const pending_copy& each : groups.front()) each.arrive();
        groups.erase(groups.begin());
      }
    }

    template <class T>
    relpos::fragment<T> load(const T* row) {
      constexpr int of_word = 4 / sizeof(T);
      return load_by(row,
                     [](int lane, int i) { return std::array{lane / 4, lane % 4 * of_word + i}; });
    }
    template <class T>
    relpos::fragment<T> load_transposed(const T* row) {
      static_assert(sizeof(T) == 2);
      return load_by(row, [](int lane, int i) { return std::array{lane % 4 * 2 + i, lane / 4}; });
    }

    template <class T>
    void multiply_add(float (&c)[4], const relpos::fragment<T>& a, relpos::packed<T> b0,
                      relpos::packed<T> b1) {
      for (int i = 0; i < 4; ++i) own().registers[i] = a.part[i].bits;
      own().registers[4] = b0.bits;
      own().registers[5] = b1.bits;
      sync_warp();
      for (int i = 0; i < 4; ++i) {
        const int row = lane() / 4 + (i < 2 ? 0 : 8);
        const int column = lane() % 4 * 2 + i % 2;
        double sum = c[i];
        for (int k = 0; k < 8 * of_register<T>; ++k) {
          sum += double{left<T>(row, k)} * double{right<T>(k, column)};
        }
        c[i] = static_cast<float>(sum);
      }
      sync_warp();
    }
    template <class T>
    static void round(float first, float second, relpos::packed<T>& to) {
      const T numbers[2] = {T(first), T(second)};
      std::memcpy(&to.bits, numbers, sizeof to.bits);
    }
    template <class T>
    static float to_float(T x) {
      return static_cast<float>(x);
    }
    static relpos::packed<relpos::tf32> round_to_tf32(float x) {
      if (!std::isfinite(x)) return {std::bit_cast<std::uint32_t>(x)};
      return {(std::bit_cast<std::uint32_t>(x) + 0x1000u) & cut_to_tf32};
    }

   private:
    int lane() const { return thread_ % lanes; }
    meeting& warp() { return block_.warps_[static_cast<std::size_t>(thread_ / lanes)]; }
    thread_state& own() { return block_.threads_[static_cast<std::size_t>(thread_)]; }
    thread_state& of_lane(int i) {
      return block_.threads_[static_cast<std::size_t>(thread_ / lanes * lanes + i)];
    }

    static constexpr std::uint32_t cut_to_tf32 = 0xffffe000u;

    template <class T>
    static constexpr int of_register = std::is_same_v<T, relpos::tf32> ? 1 : 2;

    template <class T>
    static float number_of(std::uint32_t bits, int which) {
      if constexpr (std::is_same_v<T, relpos::tf32>) {
        return std::bit_cast<float>(bits & cut_to_tf32);
      } else {
        T number;
        number.bits = static_cast<std::uint16_t>(bits >> (16 * which));
        return static_cast<float>(number);
      }
    }
    /// Element (row, k) of the left factor, in registers 0 to 3: (low rows, low k), (high rows, low
    /// k), (low rows, high k), (high rows, high k). Four lanes have the low k of a row, one after
    /// another, as many as a register holds.
    template <class T>
    float left(int row, int k) {
      constexpr int each = of_register<T>;
      const int low = 4 * each;
      return number_of<T>(of_lane(row % 8 * 4 + k % low / each).registers[row / 8 + k / low * 2],
                          k % each);
    }
    /// Element (k, column) of the right factor, in registers 4 and 5: low and high k.
    template <class T>
    float right(int k, int column) {
      constexpr int each = of_register<T>;
      const int low = 4 * each;
      return number_of<T>(of_lane(column * 4 + k % low / each).registers[4 + k / low], k % each);
    }

    template <class T, class Place>
    relpos::fragment<T> load_by(const T* row, const Place& place) {
      block_.check_shared(row, 16);
      check_aligned(row);
      own().address = row;
      sync_warp();
      relpos::fragment<T> result;
      for (int matrix = 0; matrix < 4; ++matrix) {
        T numbers[4 / sizeof(T)];
        for (int i = 0; i < static_cast<int>(std::size(numbers)); ++i) {
          const auto [of_row, column] = place(lane(), i);
          numbers[i] = static_cast<const T*>(of_lane(matrix * 8 + of_row).address)[column];
        }
        std::memcpy(&result.part[matrix].bits, numbers, sizeof numbers);
      }
      sync_warp();
      return result;
    }

    emulated_block& block_;
    int thread_;
  };

  /// Runs body(arch) on each thread. `bytes` of shared memory.
  template <class Body>
  static void run(int threads, std::size_t bytes, thread_order order, const Body& body) {
    emulated_block block(threads, bytes, order);
    block.body_ = [&](int thread) {
      arch of(block, thread);
      body(of);
    };
    block.run_all();
  }

 private:
  emulated_block(int threads, std::size_t bytes, thread_order order)
      : threads_(static_cast<std::size_t>(threads)), all_{0, threads}, memory_(bytes + 64 + guard) {
    for (int i = 0; i < threads; i += lanes) warps_.push_back({i, lanes});
    order_.resize(threads_.size());
    std::iota(order_.begin(), order_.end(), 0);
    if (order == thread_order::down) std::reverse(order_.begin(), order_.end());
    if (order == thread_order::interleaved) {
      std::stable_sort(order_.begin(), order_.end(), [](int a, int b) { return a % 5 < b % 5; });
    }
    void* begin = memory_.data();
    std::size_t room = memory_.size();
    shared_ = static_cast<std::byte*>(std::align(16, bytes, begin, room));
    shared_bytes_ = bytes;
    std::fill(memory_.begin(), memory_.end(), std::byte{0xff});
  }

  static constexpr std::size_t stack_bytes = 48 * 1024;
  static constexpr std::size_t guard = 4096;

  static void enter(unsigned high, unsigned low) {
    auto* const block = reinterpret_cast<emulated_block*>(
        (static_cast<std::uintptr_t>(high) << 32) | static_cast<std::uintptr_t>(low));
    block->body_(block->running_);
    block->threads_[static_cast<std::size_t>(block->running_)].done = true;
  }

  void run_all() {
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    for (thread_state& each : threads_) {
      each.stack = std::make_unique_for_overwrite<std::byte[]>(stack_bytes);
      getcontext(&each.context);
      each.context.uc_stack.ss_sp = each.stack.get();
      each.context.uc_stack.ss_size = stack_bytes;
      each.context.uc_link = &scheduler_;
      makecontext(&each.context, reinterpret_cast<void (*)()>(&emulated_block::enter), 2,
                  static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
    }
    for (bool any = true; any;) {
      any = false;
      bool moved = false;
      for (const int i : order_) {
        thread_state& thread = threads_[static_cast<std::size_t>(i)];
        if (thread.done) continue;
        any = true;
        if (thread.waits) continue;
        moved = true;
        running_ = i;
        swapcontext(&scheduler_, &thread.context);
      }
      if (any && !moved) throw std::runtime_error("threads wait for each other for ever");
    }
  }

  void meet(int thread, meeting& at) {
    thread_state& own = threads_[static_cast<std::size_t>(thread)];
    if (++at.arrived < at.count) {
      own.waits = true;
      swapcontext(&own.context, &scheduler_);
      return;
    }
    at.arrived = 0;
    for (int i = at.first; i < at.first + at.count; ++i) {
      threads_[static_cast<std::size_t>(i)].waits = false;
    }
  }

  void check_shared(const void* at, std::size_t bytes) const {
    const auto* const begin = static_cast<const std::byte*>(at);
    if (begin < shared_ || begin + bytes > shared_ + shared_bytes_) {
      throw std::out_of_range("shared memory");
    }
  }
  static void check_aligned(const void* at) {
    if (reinterpret_cast<std::uintptr_t>(at) % 16 != 0) throw std::invalid_argument("alignment");
  }

  std::vector<thread_state> threads_;
  meeting all_;
  std::vector<meeting> warps_;
  std::vector<int> order_;
  std::vector<std::byte> memory_;
  std::byte* shared_ = nullptr;
  std::size_t shared_bytes_ = 0;
  std::function<void(int)> body_;
  ucontext_t scheduler_;
  int running_ = 0;
};

}  // namespace support
