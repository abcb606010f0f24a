// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>

#include "kvviz/kernels/linear_weights.hpp"

namespace kvviz::kernels {

/// y = x W^T + b: x [rows, in] in f32, dense; y [rows, out] in f32 with `y_stride` floats from row to row; y
/// overlaps no input. Sums are f32, whatever the weights. 2 * rows * in * out flops. The threads share out
/// tiles of the output whose sums depend on the shape alone: results are the same for every number of
/// threads.
///
/// Up to `few_rows` rows (decoding): a dot-product kernel that reads W once, at the speed of memory, and
/// widens it in registers; x stays f32. (OpenBLAS would copy all of W first.) Many rows:
///   f32   a single-threaded OpenBLAS sgemm per tile
///   bf16  with bf16 instructions (bf16_products()) oneDNN, at about twice that rate: x is rounded to the
///         nearest bf16, products of two bf16 are exact and summed in f32; subnormal bf16 count as zero.
///         |y - exact| <= (2^-8 + 2 in 2^-24) sum_i |x_i w_i|. So few and many rows differ by the rounding of
///         x
///   else  tiles of W are widened to f32 for sgemm: f32 arithmetic on the weights as stored
///
/// NaN and infinity in x, W or b reach the outputs that read them, as in IEEE arithmetic.
void linear(const LinearWeights& w, const float* x, int64_t rows, float* y, int64_t y_stride);

/// The same for f32 weights [out, in].
void linear(const float* x, const float* w, const float* b, float* y, int64_t rows, int64_t in, int64_t out,
            int64_t y_stride);

inline constexpr int64_t few_rows = 8;

}  // namespace kvviz::kernels
