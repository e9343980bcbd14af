#!/usr/bin/env bash
# GCC 12 widens a vector of bytes to a vector of 32-bit words number by number, through general registers, although
# vpmovzxbd does it in one instruction: for __builtin_convertvector as for a loop over eight bytes. Widening twofold
# takes four instructions too many. If a loop also shifts and masks, as it does to unpack numbers of 4 bits, -O3 makes
# it almost three times as long as -O2. Clang widens in one instruction.
#
# Kernels written with vector extensions, to be free of intrinsics, lose their speed where quantised numbers become
# floats: keys and values of 4 bits took more time than keys and values of 32, until an intrinsic converted them.
#
# Seen on Debian 12, GCC 12.2.0 and, from ziglang 0.13.0, clang 18.1.6; instructions with ret:
#
#   gcc (Debian 12.2.0-14+deb12u1) 12.2.0
#   clang version 18.1.6
#                            gcc -O2  gcc -O3  clang -O2
#   fourfold by intrinsic          2        2          2
#   fourfold by extension         30       30          2
#   fourfold by loop              20       20          2
#   nibbles by loop               15       41          5
#   twofold by extension           6        6          2
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
version=12.2.0-14+deb12u1
apt-get download -qq "gcc-12=$version" "cpp-12=$version" "libgcc-12-dev=$version" libisl23 libmpc3 libmpfr6 libgmp10 \
  libc6-dev linux-libc-dev 2>/dev/null
for package in *.deb; do dpkg -x "$package" gcc; done
export LD_LIBRARY_PATH=$folder/gcc/usr/lib/x86_64-linux-gnu
gcc=$folder/gcc/usr/bin/x86_64-linux-gnu-gcc-12
python3 -m venv clang
clang/bin/python -m pip install --quiet --disable-pip-version-check ziglang==0.13.0
clang() { clang/bin/python -m ziglang cc -target x86_64-linux-gnu "$@"; }
"$gcc" --version | sed -n '1s/^[^ ]*/gcc/p'
clang --version | sed -n '1s/ (.*//p'

cat >bytes.c <<'SOURCE'
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t eight_bytes __attribute__((vector_size(8)));
typedef uint8_t sixteen_bytes __attribute__((vector_size(16)));
typedef uint32_t eight_words __attribute__((vector_size(32)));
typedef uint16_t sixteen_words __attribute__((vector_size(32)));

__m256i fourfold_by_intrinsic(const uint8_t* bytes) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)bytes));
}

eight_words fourfold_by_extension(const uint8_t* bytes) {
  eight_bytes loaded;
  memcpy(&loaded, bytes, sizeof loaded);
  return __builtin_convertvector(loaded, eight_words);
}

eight_words fourfold_by_loop(const uint8_t* bytes) {
  eight_words result;
  uint32_t words[8];
  for (int i = 0; i < 8; ++i) words[i] = bytes[i];
  memcpy(&result, words, sizeof result);
  return result;
}

eight_words nibbles_by_loop(const uint8_t* bytes) {
  eight_words result;
  uint32_t words[8];
  for (int i = 0; i < 8; ++i) words[i] = bytes[i] >> 4 & 15u;
  memcpy(&result, words, sizeof result);
  return result;
}

sixteen_words twofold_by_extension(const uint8_t* bytes) {
  sixteen_bytes loaded;
  memcpy(&loaded, bytes, sizeof loaded);
  return __builtin_convertvector(loaded, sixteen_words);
}
SOURCE

# The instructions of each function of an assembly, by name.
count() { awk '/^[a-z_]+:/ { name = $1; sub(":.*", "", name) } /^\t[a-z]/ { ++count[name] }
               END { for (name in count) print name, count[name] }' "$1" | sort; }

"$gcc" -O2 -mavx2 -S -o gcc_2.s bytes.c
"$gcc" -O3 -mavx2 -S -o gcc_3.s bytes.c
clang -O2 -mavx2 -S -o clang.s bytes.c
join <(count gcc_2.s) <(count gcc_3.s) | join - <(count clang.s) >counts

echo "                         gcc -O2  gcc -O3  clang -O2"
for name in fourfold_by_intrinsic fourfold_by_extension fourfold_by_loop nibbles_by_loop twofold_by_extension; do
  awk -v name="$name" '$1 == name { gsub("_", " ", name); printf "%-23s %8d %8d %10d\n", name, $2, $3, $4 }' counts
done | tee seen

diff seen - <<'SEEN' || { echo "GCC widens bytes otherwise now"; exit 1; }
fourfold by intrinsic          2        2          2
fourfold by extension         30       30          2
fourfold by loop              20       20          2
nibbles by loop               15       41          5
twofold by extension           6        6          2
SEEN
