#!/usr/bin/env bash
# BFCVT, Arm's conversion of float32 to bfloat16 (Armv8.6, +bf16), follows the modes of FPCR: it rounds as RMode says and
# with FZ flushes subnormal numbers. Its counterpart on x86, VCVTNEPS2BF16, has one mode only, whatever MXCSR says: nearest,
# ties to even, subnormal numbers flushed (Intel's manual of instructions). The same source, a cast or an intrinsic, so has
# other bits on Arm in a program that has set a mode, and for subnormal numbers even in one that has not.
#
# Weights or a cache that are converted on both kinds of machine, or by a thread with FZ on, differ where nobody expects
# it. Integer arithmetic on the bits does not depend on a mode.
#
# Seen with clang 18.1 (ziglang 0.13.0) and QEMU 7.2 (Debian 12):
#
#   qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)
#   mode           1 + 2^-8   -1 - 2^-9  2^-130
#   nearest        3f80       bf80       0008
#   upwards        3f81       bf80       0008
#   downwards      3f80       bf81       0008
#   towards zero   3f80       bf80       0008
#   nearest, FZ    3f80       bf80       0000
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet ziglang==0.13.0
apt-get download -qq "qemu-user-static=1:7.2+dfsg-7+deb12u18+b3" 2>/dev/null
dpkg -x qemu-user-static*.deb qemu
qemu/usr/bin/qemu-aarch64-static --version | head -n 1

cat >convert.c <<'SOURCE'
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static unsigned convert(uint32_t bits, uint64_t fpcr) {
  float x;
  uint16_t result;
  uint64_t before;
  memcpy(&x, &bits, sizeof x);
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" ::"r"(fpcr));
  __asm__ volatile("bfcvt h0, %s1\n\tstr h0, %0" : "=m"(result) : "w"(x) : "v0");
  __asm__ volatile("msr fpcr, %0" ::"r"(before));
  return result;
}

int main(void) {
  const struct { const char* name; uint64_t fpcr; } modes[] = {
      {"nearest", 0}, {"upwards", 1 << 22}, {"downwards", 2 << 22}, {"towards zero", 3 << 22}, {"nearest, FZ", 1 << 24}};
  printf("%-14s %-10s %-10s %s\n", "mode", "1 + 2^-8", "-1 - 2^-9", "2^-130");
  for (int i = 0; i < 5; ++i) {
    printf("%-14s %04x       %04x       %04x\n", modes[i].name, convert(0x3f808000, modes[i].fpcr),
           convert(0xbf804000, modes[i].fpcr), convert(0x00080000, modes[i].fpcr));
  }
  return 0;
}
SOURCE
venv/bin/python -m ziglang cc -target aarch64-linux-musl -static -w -O1 -mcpu=neoverse_v1 convert.c -o convert

seen=$(qemu/usr/bin/qemu-aarch64-static -cpu max convert)
echo "$seen"
[ "$seen" = "mode           1 + 2^-8   -1 - 2^-9  2^-130
nearest        3f80       bf80       0008
upwards        3f81       bf80       0008
downwards      3f80       bf81       0008
towards zero   3f80       bf80       0008
nearest, FZ    3f80       bf80       0000" ]
