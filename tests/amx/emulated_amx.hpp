#pragma once
// AMX on processors without it: a handler of SIGILL reads the instruction that the processor does
// not know, computes it, and goes on behind it: tests run the machine code that the compiler made of
// the kernels. A program that links emulated_amx.cpp has the handler before main, unless the system
// lets it use AMX.

namespace support {

/// The instructions that were emulated so far, in all threads.
struct amx_counts {
  long configurations = 0;
  long releases = 0;
  long clears = 0;
  long loads = 0;
  long products = 0;
  long stores = 0;
};

amx_counts emulated_amx();

/// Whether the handler is installed: else the processor computes.
bool amx_is_emulated();

/// While it lives, a process that asks for AMX is refused.
struct withheld_amx {
  withheld_amx();
  ~withheld_amx();
  withheld_amx(const withheld_amx&) = delete;
  withheld_amx& operator=(const withheld_amx&) = delete;
};

}  // namespace support
