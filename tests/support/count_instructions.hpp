#pragma once
// Counts the instructions of a call by stepping through it: exact, the same in every run, and with
// any instruction set. For Linux on x86-64.

#include <csignal>
#include <optional>

#if defined(__linux__) && defined(__x86_64__)
#include <ucontext.h>
#endif

namespace support {

#if defined(__linux__) && defined(__x86_64__)

struct stepping {
  static inline volatile std::sig_atomic_t on = 0;
  static inline volatile long count = 0;

  /// While the processor's trap flag is set, it traps after every instruction.
  static void on_trap(int, siginfo_t*, void* context) {
    constexpr greg_t trap_flag = 0x100;
    greg_t& flags = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
    if (on) {
      flags |= trap_flag;
      count = count + 1;
    } else {
      flags &= ~trap_flag;
    }
  }
};

/// Nothing where there is no way to count.
template <class Call>
std::optional<long> count_instructions(const Call& call) {
  struct sigaction action = {};
  struct sigaction before = {};
  action.sa_sigaction = stepping::on_trap;
  action.sa_flags = SA_SIGINFO;
  if (sigaction(SIGTRAP, &action, &before) != 0) return {};
  stepping::count = 0;
  stepping::on = 1;
  std::raise(SIGTRAP);
  call();
  stepping::on = 0;
  sigaction(SIGTRAP, &before, nullptr);
  return stepping::count;
}

#else

template <class Call>
std::optional<long> count_instructions(const Call&) {
  return {};
}

#endif

}  // namespace support
