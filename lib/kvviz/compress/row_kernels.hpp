// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/compress/quantise.hpp"
#include "kvviz/compress/rows.hpp"

namespace kvviz::compress::row_kernels {

// The inner loops of the codecs, compiled for every instruction set; the best one the processor has is chosen
// when they run, and all give the same bits. Formulas are those of the functions that call them.

void round_to_f16(const Rows& rows);
void round_to_bf16(const Rows& rows);

/// max |x|; 0 for no rows.
float largest_magnitude(const Rows& rows);
/// E4M3 of x / scale, times scale.
void scale_to_e4m3(const Rows& rows, float scale);

struct Range {
  float low = 0, high = 0;
};
/// Of one row or more.
Range range(const Rows& rows);

void quantise_on(const Rows& rows, const Grid& grid, int bits);
void quantise_tokens(const Rows& rows, Grouping grouping);
void quantise_channels(const Rows& rows, Grouping grouping);
void quantise_q8_0(const Rows& rows);
void quantise_q4_0(const Rows& rows);

void hadamard(const Rows& rows);

}  // namespace kvviz::compress::row_kernels
