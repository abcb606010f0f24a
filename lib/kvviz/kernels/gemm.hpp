// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace kvviz::kernels {

/// y = x W^T + b, in f32: x [rows, in], W [out, in] (both row-major and dense), b [out] or null, y [rows,
/// out] with `y_stride` floats from row to row. y overlaps no input. 2 * rows * in * out flops. The output is
/// cut into tiles that depend on the shape alone and the threads share them out, so results are the same for
/// every number of threads. Many rows: a single-threaded OpenBLAS sgemm per tile. Up to `few_rows` rows
/// (decoding): a dot-product kernel that reads W once, at the speed of memory; OpenBLAS would copy all of W
/// first.
void linear(const float* x, const float* w, const float* b, float* y, int64_t rows, int64_t in, int64_t out,
            int64_t y_stride);

inline constexpr int64_t few_rows = 8;

}  // namespace kvviz::kernels
