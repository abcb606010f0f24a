// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "kvviz/compress/rounding.hpp"
#include "kvviz/compress/rows.hpp"

namespace kvviz::compress {

// Quantisers to whole numbers. All read each element twice and write it once, in f32, pieces of heads in
// parallel, at about the speed of memory; memory beyond the result is a few rows of scales. Nothing packed is
// kept: restored holds what reading the packed codes back gives, and bytes are added up group by group.
//
// Bytes. The codes of a group are packed without gaps and begin at a byte: ceil(count * bits / 8). Scales and
// zero points are f16, two bytes each, and the values used are the rounded ones. A group at the end of its
// axis holds what is left there and costs its own scale.
//
// Range. f16 saturates at 65504 and steps by 6e-8 near zero: restored is finite for every finite input, but
// the error bounds below need |z| and s between these.

/// The numbers a group may be restored to: zero + scale * {0 ... 2^bits - 1}, both as f16 holds them.
struct Grid {
  float scale = 0, zero = 0;
};

/// Asymmetric min-max grid: z = low, s = (high - low) / (2^bits - 1) in f32, each rounded to f16. An element
/// x gets the code clamp(round((x - z) / s), 0, 2^bits - 1), ties to even. A group of equal elements has s =
/// 0 and is restored as f16 of its element. |x - restored| <= s/2 + what rounding z and s to f16 costs, that
/// is at most 2^-11 (|z| + high - low).
inline Grid min_max_grid(float low, float high, int bits) {
  const double step = (double{high} - double{low}) / ((1 << bits) - 1);
  return {.scale = to_f16(static_cast<float>(step)), .zero = to_f16(low)};
}

/// ceil(count * bits / 8).
int64_t packed_bytes(int64_t count, int bits);

/// How elements share a grid: `bits` a code, `group` elements along the axis of the groups (0: all of them).
struct Grouping {
  int bits = 4;
  int64_t group = 0;
};

/// All elements on one grid that others share: counts nothing.
void quantise_on(const Rows& rows, const Grid& grid, int bits);

/// A grid for every `group` successive channels of each token.
Bytes quantise_tokens(const Rows& rows, Grouping grouping);

/// A grid for every `group` successive tokens of each channel, counted from the first row.
Bytes quantise_channels(const Rows& rows, Grouping grouping);

/// f16, counted as metadata: a window that is kept as it is.
Bytes keep_f16(const Rows& rows);

/// Tokens of n that KIVI quantises (Liu et al., ICML 2024, arXiv 2402.02750, algorithm 1), the rest stays
/// f16. Keys enter in blocks of `window` when one is full: n - n mod window. Values leave a sliding window:
/// the newest `window` stay, max(n - window, 0). Without a window keys enter as soon as they fill a group.
int64_t kivi_quantised_tokens(int64_t n, Side side, Grouping grouping, int64_t window);

/// ggml's blocks of 32 successive channels of a token, one f16 scale d each (a head_dim that is no multiple
/// of 32 ends in a shorter block). The codes are made with d before it is rounded, as ggml does.
/// q8_0: d = max|x| / 127, code = round(x / d), ties away from zero, one byte. q4_0: d = m / -8 where m is
/// the element of largest magnitude (the first of them), with its sign; code = min(15, floor(x / d + 8.5)),
/// restored (code - 8) d, half a byte. A d that is 0 in f16 restores zeros.
Bytes quantise_q8_0(const Rows& rows);
Bytes quantise_q4_0(const Rows& rows);

/// Reads "BITS", "BITS:GROUP", ... of a method: bits 2, 3, 4 or 8, a group of 2 or more where one is given
/// (each element of a group of 1 is its own zero point: an expansion). Throws UsageError naming `method`.
Grouping parse_grouping(std::string_view method, const std::vector<int64_t>& numbers);

}  // namespace kvviz::compress
