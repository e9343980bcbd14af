// The instructions as the manual describes them (Intel 64 and IA-32 Architectures Software
// Developer's Manual, volume 2: LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TILERELEASE,
// TDPBF16PS), without restart. A program that breaks their rules is stopped.

#include "amx/emulated_amx.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int tiles = 8;
constexpr int most_rows = 16;
constexpr int most_bytes = 64;

struct configuration {
  std::uint8_t palette = 0;
  std::uint8_t first_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> bytes{};
  std::array<std::uint8_t, 16> rows{};
};
static_assert(sizeof(configuration) == 64);

using row = std::array<std::uint8_t, most_bytes>;
using tile = std::array<row, most_rows>;

thread_local configuration config;
thread_local std::array<tile, tiles> registers;

struct counters {
  std::atomic<long> configurations, releases, clears, loads, products, stores;
} counted;

bool is_installed = false;
bool is_withheld = false;

/// An operand in memory: base + row * stride.
struct place {
  std::uint8_t* base;
  std::int64_t stride;
};

/// An instruction with a VEX prefix of three bytes and an opcode of the map 0F38.
struct instruction {
  enum prefix { none, p66, f3, f2 };

  prefix pp;
  std::uint8_t opcode;
  int mod, reg, rm, vvvv;
  bool base_is_high, index_is_high;
  const std::uint8_t* behind_modrm;

  static bool is_known(const std::uint8_t* code) {
    return code[0] == 0xc4 && (code[1] & 0x1f) == 2 && (code[2] & 0x84) == 0 &&
           (code[3] == 0x49 || code[3] == 0x4b || code[3] == 0x5c);
  }
  explicit instruction(const std::uint8_t* code)
      : pp(static_cast<prefix>(code[2] & 3)),
        opcode(code[3]),
        mod(code[4] >> 6),
        reg((code[4] >> 3 & 7) | ((code[1] & 0x80) != 0 ? 0 : 8)),
        rm(code[4] & 7),
        vvvv(~(code[2] >> 3) & 15),
        base_is_high((code[1] & 0x20) == 0),
        index_is_high((code[1] & 0x40) == 0),
        behind_modrm(code + 5) {}
};

[[noreturn]] void refuse(const char* why) {
  std::fputs("emulated AMX: ", stderr);
  std::fputs(why, stderr);
  std::fputc('\n', stderr);
  std::abort();
}
void require(bool holds, const char* why) {
  if (!holds) refuse(why);
}

std::int64_t general_register(const ucontext_t& context, int number) {
  constexpr int of_number[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                               REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                               REG_R12, REG_R13, REG_R14, REG_R15};
  return context.uc_mcontext.gregs[of_number[number]];
}

/// The memory operand. `next` receives the address of the next instruction.
place memory_operand(const ucontext_t& context, const instruction& is, const std::uint8_t*& next) {
  const std::uint8_t* at = is.behind_modrm;
  std::int64_t base = 0;
  std::int64_t stride = 0;
  bool is_relative = false;
  bool has_no_base = false;
  if (is.rm == 4) {
    const std::uint8_t sib = *at++;
    const int index = (sib >> 3 & 7) | (is.index_is_high ? 8 : 0);
    if (index != 4) stride = general_register(context, index) << (sib >> 6);
    has_no_base = (sib & 7) == 5 && is.mod == 0;
    if (!has_no_base) base = general_register(context, (sib & 7) | (is.base_is_high ? 8 : 0));
  } else if (is.rm == 5 && is.mod == 0) {
    is_relative = true;
  } else {
    base = general_register(context, is.rm | (is.base_is_high ? 8 : 0));
  }
  if (is.mod == 1) {
    base += static_cast<std::int8_t>(*at++);
  } else if (is.mod == 2 || is_relative || has_no_base) {
    std::int32_t displacement;
    std::memcpy(&displacement, at, sizeof displacement);
    at += sizeof displacement;
    base += displacement;
  }
  if (is_relative) base += reinterpret_cast<std::int64_t>(at);
  next = at;
  return {reinterpret_cast<std::uint8_t*>(base), stride};
}

void require_tile(int number) {
  require(number < tiles, "there is no such tile");
  require(config.palette == 1, "tiles are not configured");
  const auto i = static_cast<std::size_t>(number);
  require(config.rows[i] > 0 && config.bytes[i] > 0, "the tile is not configured");
}

void configure(const std::uint8_t* source) {
  configuration wanted;
  std::memcpy(&wanted, source, sizeof wanted);
  require(wanted.palette == 1 && wanted.first_row == 0, "LDTILECFG: palette");
  for (const std::uint8_t x : wanted.reserved) require(x == 0, "LDTILECFG: reserved bytes");
  for (std::size_t i = 0; i < wanted.rows.size(); ++i) {
    const bool exists = i < tiles;
    require(wanted.rows[i] <= (exists ? most_rows : 0), "LDTILECFG: rows");
    require(wanted.bytes[i] <= (exists ? most_bytes : 0), "LDTILECFG: bytes of a row");
  }
  config = wanted;
  registers = {};
}

/// A subnormal number counts as zero.
float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

float number(const row& of, int i) {
  std::uint16_t bits;
  std::memcpy(&bits, of.data() + 2 * i, sizeof bits);
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &wide, sizeof x);
  return flushed(x);
}

void multiply(int into, int of_a, int of_b) {
  for (const int number : {into, of_a, of_b}) require_tile(number);
  require(into != of_a && into != of_b && of_a != of_b, "TDPBF16PS: tiles must differ");
  const auto c = static_cast<std::size_t>(into);
  const auto a = static_cast<std::size_t>(of_a);
  const auto b = static_cast<std::size_t>(of_b);
  require(config.rows[c] == config.rows[a] && config.bytes[c] == config.bytes[b] &&
              config.bytes[a] == 4 * config.rows[b],
          "TDPBF16PS: shapes of the tiles");
  const int pairs = config.rows[b];
  for (std::size_t m = 0; m < config.rows[c]; ++m) {
    for (int n = 0; n < config.bytes[c] / 4; ++n) {
      float even = 0.0f;
      float odd = 0.0f;
      for (int k = 0; k < pairs; ++k) {
        const row& column = registers[b][static_cast<std::size_t>(k)];
        even = flushed(std::fma(number(registers[a][m], 2 * k), number(column, 2 * n), even));
        odd = flushed(std::fma(number(registers[a][m], 2 * k + 1), number(column, 2 * n + 1), odd));
      }
      float sum;
      std::uint8_t* const place = registers[c][m].data() + 4 * n;
      std::memcpy(&sum, place, sizeof sum);
      sum = flushed(flushed(sum) + flushed(even + odd));
      std::memcpy(place, &sum, sizeof sum);
    }
  }
}

/// Returns the address of the next instruction.
const std::uint8_t* emulate(const ucontext_t& context, const instruction& is) {
  const std::uint8_t* next = is.behind_modrm;
  require(is.opcode == 0x5c || is.vvvv == 0, "VEX.vvvv must be 1111");
  if (is.opcode == 0x49 && is.mod == 3) {
    require(is.rm == 0, "there is no such instruction");
    if (is.pp == instruction::none) {
      require(is.reg == 0, "there is no such instruction");
      config = {};
      ++counted.releases;
    } else {
      require(is.pp == instruction::f2, "there is no such instruction");
      require_tile(is.reg);
      registers[static_cast<std::size_t>(is.reg)] = {};
      ++counted.clears;
    }
  } else if (is.opcode == 0x49) {
    require(is.pp == instruction::none && is.reg == 0, "STTILECFG is not emulated");
    configure(memory_operand(context, is, next).base);
    ++counted.configurations;
  } else if (is.opcode == 0x4b) {
    require(is.mod != 3 && is.rm == 4, "the operand must be in memory");
    require_tile(is.reg);
    const place memory = memory_operand(context, is, next);
    const auto number = static_cast<std::size_t>(is.reg);
    const std::size_t bytes = config.bytes[number];
    if (is.pp != instruction::f3) registers[number] = {};
    for (std::size_t i = 0; i < config.rows[number]; ++i) {
      std::uint8_t* const there = memory.base + static_cast<std::int64_t>(i) * memory.stride;
      row& here = registers[number][i];
      if (is.pp == instruction::f3) {
        std::memcpy(there, here.data(), bytes);
      } else {
        std::memcpy(here.data(), there, bytes);
      }
    }
    ++(is.pp == instruction::f3 ? counted.stores : counted.loads);
  } else {
    require(is.mod == 3 && is.pp == instruction::f3, "only TDPBF16PS is emulated");
    multiply(is.reg, is.rm | (is.base_is_high ? 8 : 0), is.vvvv);
    ++counted.products;
  }
  return next;
}

void handle(int, siginfo_t*, void* of_thread) {
  auto& context = *static_cast<ucontext_t*>(of_thread);
  auto& next = context.uc_mcontext.gregs[REG_RIP];
  const auto* const code = reinterpret_cast<const std::uint8_t*>(next);
  if (!instruction::is_known(code)) {
    signal(SIGILL, SIG_DFL);  // the instruction is executed again, and stops the program
    return;
  }
  next = reinterpret_cast<greg_t>(emulate(context, instruction(code)));
}

constexpr long request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
constexpr long tile_data = 18;               // XFEATURE_XTILEDATA

/// The result of Linux: -errno for a failure.
long system_call(long number, const long (&argument)[6]) {
  register long r10 asm("r10") = argument[3];
  register long r8 asm("r8") = argument[4];
  register long r9 asm("r9") = argument[5];
  long result = number;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(argument[0]), "S"(argument[1]), "d"(argument[2]), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

[[maybe_unused]] const bool installed_before_main = [] {
  if (system_call(SYS_arch_prctl, {request_permission, tile_data}) == 0) return false;
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  is_installed = sigaction(SIGILL, &action, nullptr) == 0;
  return is_installed;
}();

}  // namespace

/// Takes the place of libc's function, and answers for Linux where AMX is emulated or withheld.
extern "C" long syscall(long number, ...) noexcept {
  std::va_list list;
  va_start(list, number);
  long argument[6];
  for (long& x : argument) x = va_arg(list, long);
  va_end(list);
  const bool asks_for_tiles =
      number == SYS_arch_prctl && argument[0] == request_permission && argument[1] == tile_data;
  if (asks_for_tiles && is_installed && !is_withheld) return 0;
  const long result = asks_for_tiles && is_withheld ? -EPERM : system_call(number, argument);
  if (result >= 0 || result < -4095) return result;
  errno = static_cast<int>(-result);
  return -1;
}

namespace support {

amx_counts emulated_amx() {
  return {counted.configurations, counted.releases, counted.clears,
          counted.loads,          counted.products, counted.stores};
}

bool amx_is_emulated() { return is_installed; }

withheld_amx::withheld_amx() { is_withheld = true; }
withheld_amx::~withheld_amx() { is_withheld = false; }

}  // namespace support
