// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace kvviz::kernels {

/// Half-open range of columns.
struct Span {
  int64_t begin = 0, end = 0;
};

/// Logits, later weights, of a block of rows: row r starts at data + r * stride, column c is key first_key +
/// c. `data` is 64-byte aligned, `stride` a multiple of 16 and at least the end of the last row's span
/// rounded up to a panel; the rows in memory are `rows` rounded up to a row group.
struct Strip {
  float* data = nullptr;
  int64_t stride = 0;
  int64_t rows = 0;
  const Span* visible =
      nullptr;  ///< [rows] the columns that the row's query sees; no end is behind the last row's
};

/// Sums over one row with e = exp(logit - maximum).
struct RowSums {
  double weight = 0;    ///< sum e
  double log = 0;       ///< sum e (logit - maximum)
  double distance = 0;  ///< sum e (end - 1 - c), end of the row's visible columns
  int64_t small = 0;    ///< columns with e < 0.01
};

/// A bias that grows with the distance of a key from its query (ALiBi), for the rows and columns of a strip.
struct DistanceBias {
  const float* slope = nullptr;    ///< [rows]
  const int32_t* query = nullptr;  ///< [rows] where the row's query stands
  const int32_t* key = nullptr;    ///< [columns] where the keys stand; readable to a multiple of 16
};

/// The vector kernels of streaming attention, for the best instruction set of this CPU.
struct AttentionSimd {
  int64_t panel = 0;      ///< keys per panel of packed keys
  int64_t row_group = 0;  ///< rows per group of packed queries

  /// Keys [keys, head_dim], `stride` floats from key to key, into panels of [head_dim][panel], zeros behind
  /// the last.
  void (*pack_keys)(const float* key, int64_t stride, int64_t keys, int64_t head_dim,
                    float* panels) = nullptr;

  /// logit[r][c] = q_r . k_c, NaN where that is infinite, for every column some row of the row's group sees.
  /// Queries are packed in groups of [head_dim][row_group]; `panels` starts at column 0.
  void (*scores)(const Strip& strip, const float* queries, const float* panels, int64_t head_dim) = nullptr;

  /// logit[r][c] += slope[r] (key[c] - query[r]) on the visible columns. The distance is a difference of
  /// whole numbers, so that the bias has one rounding however far from the start the text is.
  void (*add_distances)(const Strip& strip, const DistanceBias& bias) = nullptr;

  /// logit = cap tanh(logit / cap) on the visible columns.
  void (*softcap)(const Strip& strip, float cap) = nullptr;

  /// Replaces each row by e, zero where it does not see, up to the last column that any row sees. Of `sums`
  /// only `weight` is set unless `all_sums`. Lane sums in f32 over at most 1024 columns, then f64.
  void (*softmax)(const Strip& strip, RowSums* sums, bool all_sums) = nullptr;

  /// out[r] += sum over the columns of `columns` that row group r sees of e[r][c] value_c. `value` starts at
  /// column 0; out is [rows rounded up to a row group][head_dim rounded up to 16].
  void (*weighted_values)(const Strip& strip, Span columns, const float* value, int64_t value_stride,
                          int64_t head_dim, float* out) = nullptr;

  /// sums[i] = sum over the rows of `rows` of factor[r] e[r][columns.begin + i], in f32. columns.begin is a
  /// multiple of 16; up to 15 sums behind the last column are overwritten.
  void (*column_sums)(const Strip& strip, Span rows, Span columns, const float* factor,
                      float* sums) = nullptr;
};

/// Chosen at the first call; hwy::SetSupportedTargetsForTest changes the choice.
const AttentionSimd& attention_simd();

}  // namespace kvviz::kernels
