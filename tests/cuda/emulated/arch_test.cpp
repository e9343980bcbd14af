// Where numbers are in fragments and in shared memory, without a GPU: products of matrices that lie
// as queries, keys and values do.

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <vector>

#include "cuda/emulated/block.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cuda/fragment/shared_rows.hpp"
#include "relpos/cuda/fragment/tensor_product.hpp"
#include "relpos/cuda/prefill/geometry.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::half;
using support::emulated_block;
using support::thread_order;
using arch = emulated_block::arch;
using rows16 = relpos::shared_rows<half, 16, 64>;

constexpr int warp = relpos::warp_lanes;

/// Small whole numbers, whose sums are exact.
std::vector<half> whole_numbers(int seed) {
  std::vector<half> numbers(16 * 64);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = half(static_cast<float>(static_cast<int>(i * 37 + i / 64 * 11) % 17 + seed - 8));
  }
  return numbers;
}

/// Copies 16 rows, and then calls use(arch, rows, lane) on each lane of a warp.
template <class Use>
void with_rows(const std::vector<half>& numbers, const Use& use) {
  emulated_block::run(warp, rows16::size * sizeof(half), thread_order::up, [&](arch& of) {
    const rows16 rows{reinterpret_cast<half*>(of.shared())};
    rows.copy<warp>(of, of.thread(), numbers.data(), 64, 0, 16, numbers.data());
    of.commit();
    of.wait<0>();
    of.sync();
    use(of, rows, of.thread());
  });
}

TEST(arch, products_of_rows_with_rows) {
  // S = A A^T, of 16 rows and 16 channels from 32 on.
  const auto numbers = whole_numbers(3);
  std::vector<float> got(256, -1.0f);
  with_rows(numbers, [&](arch& of, const rows16& rows, int lane) {
    float sums[2][4] = {};
    const auto query = of.load(static_cast<const half*>(rows.matrix_row<true>(0, 32, lane)));
    const auto key = of.load(static_cast<const half*>(rows.matrix_row<false>(0, 32, lane)));
    of.multiply_add(sums[0], query, key.part[0], key.part[1]);
    of.multiply_add(sums[1], query, key.part[2], key.part[3]);
    const relpos::accumulator_place place{lane};
    for (int tile = 0; tile < 2; ++tile) {
      for (int e = 0; e < 4; ++e) {
        got[static_cast<std::size_t>(place.row(e) * 16 + tile * 8 + place.column(e))] =
            sums[tile][e];
      }
    }
  });
  for (int row = 0; row < 16; ++row) {
    for (int key = 0; key < 16; ++key) {
      float expected = 0.0f;
      for (int c = 32; c < 48; ++c) {
        expected += static_cast<float>(numbers[static_cast<std::size_t>(row * 64 + c)]) *
                    static_cast<float>(numbers[static_cast<std::size_t>(key * 64 + c)]);
      }
      EXPECT_EQ(got[static_cast<std::size_t>(row * 16 + key)], expected) << row << ", " << key;
    }
  }
}

TEST(arch, products_of_accumulators_with_columns) {
  // O = S V, where S is an accumulator of 16 x 16 and V has 16 channels from 16 on.
  const auto numbers = whole_numbers(0);
  const auto weight = [](int row, int key) { return static_cast<float>((row * 5 + key * 3) % 7); };
  std::vector<float> got(256, -1.0f);
  with_rows(numbers, [&](arch& of, const rows16& rows, int lane) {
    const relpos::accumulator_place place{lane};
    relpos::fragment<half> weights;
    for (int part = 0; part < 4; ++part) {
      float at[2];
      for (int i = 0; i < 2; ++i) {
        const int e = part % 2 * 2 + i;
        at[i] = weight(place.row(e), part / 2 * 8 + place.column(e));
      }
      of.round(at[0], at[1], weights.part[part]);
    }
    const auto value =
        of.load_transposed(static_cast<const half*>(rows.matrix_row<true>(0, 16, lane)));
    float sums[2][4] = {};
    of.multiply_add(sums[0], weights, value.part[0], value.part[1]);
    of.multiply_add(sums[1], weights, value.part[2], value.part[3]);
    for (int tile = 0; tile < 2; ++tile) {
      for (int e = 0; e < 4; ++e) {
        got[static_cast<std::size_t>(place.row(e) * 16 + tile * 8 + place.column(e))] =
            sums[tile][e];
      }
    }
  });
  for (int row = 0; row < 16; ++row) {
    for (int c = 0; c < 16; ++c) {
      float expected = 0.0f;
      for (int key = 0; key < 16; ++key) {
        expected += weight(row, key) *
                    static_cast<float>(numbers[static_cast<std::size_t>(key * 64 + 16 + c)]);
      }
      EXPECT_EQ(got[static_cast<std::size_t>(row * 16 + c)], expected) << row << ", " << c;
    }
  }
}

TEST(arch, rows_outside_of_a_sequence_are_zeros) {
  const auto numbers = whole_numbers(9);
  emulated_block::run(warp, rows16::size * sizeof(half), thread_order::down, [&](arch& of) {
    const rows16 rows{reinterpret_cast<half*>(of.shared())};
    // Rows 3 to 10 of a tile are rows 0 to 7 of a sequence.
    rows.copy<warp>(of, of.thread(), numbers.data() - 3 * 64, 64, 3, 11, numbers.data());
    of.commit();
    of.wait<0>();
    of.sync();
    for (int row = 0; row < 16; ++row) {
      for (int c = of.thread(); c < 64; c += warp) {
        const bool exists = 3 <= row && row < 11;
        const float expected =
            exists ? static_cast<float>(numbers[static_cast<std::size_t>((row - 3) * 64 + c)])
                   : 0.0f;
        EXPECT_EQ(static_cast<float>(*rows.at(row, c)), expected) << row << ", " << c;
      }
    }
  });
}

/// The eight rows of every matrix lie in different groups of banks, 16 bytes each of 128.
template <class T, int Channels>
void expect_no_conflict() {
  using rows = relpos::shared_rows<T, 64, Channels>;
  std::vector<T> memory(rows::size);
  const rows of{memory.data()};
  for (int row = 0; row < 64; row += 16) {
    for (int channel = 0; channel < Channels; channel += relpos::step_length<T>) {
      for (int matrix = 0; matrix < 4; ++matrix) {
        std::set<std::ptrdiff_t> groups;
        for (int i = 0; i < 8; ++i) {
          const T* const place = of.template matrix_row<true>(row, channel, matrix * 8 + i);
          groups.insert((place - memory.data()) / rows::chunk % 8);
        }
        EXPECT_EQ(groups.size(), 8u) << row << ", " << channel << ", " << matrix;
      }
    }
  }
}

TEST(arch, matrices_have_no_bank_conflicts) {
  expect_no_conflict<half, 64>();
  expect_no_conflict<half, 96>();
  expect_no_conflict<half, 128>();
  expect_no_conflict<half, 256>();
  expect_no_conflict<float, 64>();
  expect_no_conflict<float, 96>();
}

TEST(arch, float_values_have_no_bank_conflicts) {
  // As output_fragment reads them: lanes of a step have keys two apart, and channels side by side.
  using rows = relpos::shared_rows<float, 16, 64>;
  std::set<int> banks;
  for (int lane = 0; lane < warp; ++lane) {
    banks.insert((lane % 4 * 2 * rows::stride + lane / 4) % 32);
  }
  EXPECT_EQ(banks.size(), 32u);
}

TEST(arch, products_of_split_numbers) {
  // S = A B^T of 16 rows and 8 columns: to 22 bits, where one product of tf32 has 11.
  const auto number = [](int row, int k) { return 1.0f / static_cast<float>(3 + row * 8 + k); };
  std::vector<double> got(128, -1.0);
  emulated_block::run(warp, 16, thread_order::up, [&](arch& of) {
    const int lane = of.thread();
    const auto at = [&](int row, int k) {
      return relpos::packed<float>{std::bit_cast<std::uint32_t>(number(row, k))};
    };
    relpos::fragment<float> a;
    for (int part = 0; part < 4; ++part) {
      a.part[part] = at(lane / 4 + part % 2 * 8, lane % 4 + part / 2 * 4);
    }
    float sums[4] = {};
    relpos::multiply_add(of, sums, relpos::as_left_factor(of, a), at(lane / 4, lane % 4),
                         at(lane / 4, lane % 4 + 4));
    const relpos::accumulator_place place{lane};
    for (int e = 0; e < 4; ++e) {
      got[static_cast<std::size_t>(place.row(e) * 8 + place.column(e))] = double{sums[e]};
    }
  });
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      double expected = 0.0;
      for (int k = 0; k < 8; ++k) expected += double{number(row, k)} * double{number(column, k)};
      EXPECT_NEAR(got[static_cast<std::size_t>(row * 8 + column)], expected, expected * 0x1p-21)
          << row << ", " << column;
    }
  }
}

// The emulated architecture finds what it is meant to find.

TEST(emulated_block, a_copy_is_not_there_before_it_is_waited_for) {
  const auto numbers = whole_numbers(1);
  emulated_block::run(warp, rows16::size * sizeof(half), thread_order::up, [&](arch& of) {
    const rows16 rows{reinterpret_cast<half*>(of.shared())};
    rows.copy<warp>(of, of.thread(), numbers.data(), 64, 0, 16, numbers.data());
    of.commit();
    if (of.thread() < 8) {  // which copies this part of the first row
      const float early = static_cast<float>(*rows.at(0, of.thread() * 8));
      EXPECT_NE(early, early);
    }
    of.wait<0>();
  });
}

TEST(emulated_block, a_barrier_that_some_miss_is_an_error) {
  EXPECT_THROW(emulated_block::run(warp, 16, thread_order::up,
                                   [&](arch& of) {
                                     if (of.thread() != 5) of.sync();
                                   }),
               std::runtime_error);
}

}  // namespace
