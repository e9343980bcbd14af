#!/usr/bin/env bash
# GCC 12's intrinsics of AMX's tiles are assembly that does not say which memory it reads. A store to the rows of a tile,
# followed by _tile_loadd and by another store to the same rows, is removed as one that nothing reads. Of a configuration
# that is built in place, _tile_loadconfig reads 64 bytes and names 8: stores behind the eighth byte are removed, here the
# rows and the bytes per row of tile 0.
#
# Whoever fills a buffer again between two loads, as attention does with the weights of a tile of keys, or configures from
# a local struct, has wrong sums or a fault, at -O1 and above. A statement asm volatile("" ::: "memory") before each load
# keeps the stores. Nothing is executed here: the script reads the assembly.
#
# Seen on Debian 12, GCC 12.2.0:
#
#   gcc (Debian 12.2.0-14+deb12u1) 12.2.0
#   -O0 stores before the first load: 1, configuration: complete
#   -O1 stores before the first load: 0, configuration: bytes and rows of tile 0 are missing
#   -O2 stores before the first load: 0, configuration: bytes and rows of tile 0 are missing
#   -O2 behind a barrier: stores before the first load: 1, configuration: complete
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
version=12.2.0-14+deb12u1
apt-get download -qq "gcc-12=$version" "cpp-12=$version" "libgcc-12-dev=$version" libisl23 libmpc3 libmpfr6 libgmp10 \
  libc6-dev linux-libc-dev 2>/dev/null
for package in *.deb; do dpkg -x "$package" gcc; done
export LD_LIBRARY_PATH=$folder/gcc/usr/lib/x86_64-linux-gnu
compiler=$folder/gcc/usr/bin/x86_64-linux-gnu-gcc-12
"$compiler" --version | sed -n '1s/^[^ ]*/gcc/p'

cat >tiles.c <<'SOURCE'
#include <immintrin.h>

#ifndef BARRIER
#define BARRIER
#endif

static __m512i rows[16];

void two_tiles(float* sums, __m512i x, __m512i y) {
  rows[0] = x;
  BARRIER;
  _tile_loadd(1, rows, 64);
  rows[0] = y;
  BARRIER;
  _tile_loadd(2, rows, 64);
  _tile_stored(1, sums, 64);
  _tile_stored(2, sums + 256, 64);
}

void configure(void) {
  struct { unsigned char bytes[64]; } of_tile_0 = {{1}};
  of_tile_0.bytes[16] = 77;
  of_tile_0.bytes[48] = 13;
  BARRIER;
  _tile_loadconfig(&of_tile_0);
}
SOURCE

# The stores of the argument x to rows before the first load, and whether 77 and 13 appear as constants.
look() {
  local stores configuration='bytes and rows of tile 0 are missing'
  "$compiler" "$@" -isystem gcc/usr/include -isystem gcc/usr/include/x86_64-linux-gnu -mavx512f -mamx-tile -S tiles.c -o tiles.s
  stores=$(sed -n '/^two_tiles:/,/tileloadd/p' tiles.s | grep -cE 'vmov[a-z0-9]+\s+%zmm[0-9]+, (rows|\(%r)' || true)
  if sed -n '/^configure:/,$p' tiles.s | grep -qE '\$77|\b77\b'; then configuration=complete; fi
  echo "stores before the first load: $stores, configuration: $configuration"
}

seen=$(
  for level in -O0 -O1 -O2; do echo "$level $(look "$level")"; done
  echo "-O2 behind a barrier: $(look -O2 '-DBARRIER=__asm__ volatile("" ::: "memory")')"
)
echo "$seen"
[ "$seen" = "-O0 stores before the first load: 1, configuration: complete
-O1 stores before the first load: 0, configuration: bytes and rows of tile 0 are missing
-O2 stores before the first load: 0, configuration: bytes and rows of tile 0 are missing
-O2 behind a barrier: stores before the first load: 1, configuration: complete" ]
