// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "kvviz/formats/stored_tensor.hpp"

namespace kvviz {

/// Widening of stored values to f32. With d, m of type f16, all little-endian, the blocks of GGML are
/// (layouts: ggml-common.h, values: dequantize_row_* of
/// https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c):
///   Q8_0   32 values, d, q: 32 x i8                              x = d q
///   Q4_0   32 values, d, q: 4 bits                               x = d (q - 8)
///   Q4_1   32 values, d, m, q: 4 bits                            x = d q + m
///   Q5_0   32 values, d, a fifth bit each in 32 bits, q          x = d (q - 16)
///   Q5_1   32 values, d, m, a fifth bit each, q                  x = d q + m
///   Q4_K   256 values, d, m, 8 scales s and minima t of 6 bits, q: 4 bits, groups of 32   x = d s q - m t
///   Q5_K   the same with a fifth bit each
///   Q6_K   256 values, q: 4 + 2 bits, 16 scales s: i8, d, groups of 16                    x = d s (q - 32)
///   Q2_K   256 values, 16 scales s and minima t of 4 bits, q: 2 bits, d, m, groups of 16  x = d s q - m t
///   Q3_K   256 values, q: 1 + 2 bits, 16 scales s of 6 bits, d, groups of 16       x = d (s - 32) (q - 4)
///   IQ4_NL 32 values, d, q: 4 bits, c: a table of 16 numbers                     x = d c[q]
///   IQ4_XS 256 values, d, 8 scales s of 6 bits, q: 4 bits, groups of 32          x = d (s - 32) c[q]
///   MXFP4  32 values, e: u8, q: f4 e2m1                                          x = 2^(e - 127) q
///   TQ1_0  256 values, five (the last 16: four) ternary digits q a byte, d       x = d (q - 1)
///   TQ2_0  256 values, q: 2 bits, d                                              x = d (q - 1)
/// In Q4_0 to Q5_1, IQ4_NL and MXFP4 the low halves of the 16 bytes are values 0 to 15, the high halves 16 to
/// 31, in IQ4_XS those of each group; in Q4_K and Q5_K 32 bytes hold two groups in the same manner. Products
/// and sums are f32, in the order written here, so the values are those of ggml bit for bit. F32, F16 and
/// BF16 are exact.
bool can_widen(std::string_view dtype);

/// "F32, F16, BF16, Q8_0, ..."
std::string widened_dtypes();

/// Whole blocks of a dtype to f32: `out` has as many values as `bytes` has. Needs can_widen(dtype). Any
/// alignment. No check for finite values.
void widen(std::string_view dtype, std::span<const std::byte> bytes, std::span<float> out);

/// Rows from `first` on to f32, as many as `out` holds. Rows are those of the file (shape_in_file, at least
/// one dimension), in the tensor's row_order; a vector is one row, with a row_order its values are rows.
/// `added` and `transposed` are left to the caller. Threads: the caller gives each its own rows. Throws
/// DataError for a vector of blocks with a row_order.
void widen_rows(const StoredTensor& tensor, int64_t first, std::span<float> out);

}  // namespace kvviz
