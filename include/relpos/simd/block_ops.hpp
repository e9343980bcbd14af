#pragma once

#include "relpos/simd/isa.hpp"

namespace relpos::inline RELPOS_ABI {

/// Conversions of blocks of stored numbers, optional for each instruction set:
///
///   vectors            the number of vectors of a block
///   load(source, out)  converts them to floats
template <class Isa, class Stored>
struct block_ops;

template <class Isa, class Stored>
concept loads_blocks = requires { block_ops<Isa, Stored>::vectors; };

/// Whether `Vectors` vectors are whole blocks.
template <class Isa, int Vectors, class Stored>
concept loads_blocks_of =
    loads_blocks<Isa, Stored> && Vectors > 0 && Vectors % block_ops<Isa, Stored>::vectors == 0;

}  // namespace relpos::inline RELPOS_ABI
