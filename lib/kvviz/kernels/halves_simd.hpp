// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "kvviz/kernels/linear_weights.hpp"

namespace kvviz::kernels {

/// The nearest bf16 of every x, ties to even; beyond the largest bf16 infinity, NaN stays NaN.
void round_to_bf16(const float* x, int64_t size, uint16_t* out);

/// A part of some rows of weights, [rows, columns] from `w` on, `stride` elements from row to row, as f32 to
/// dense rows `out`. Exact, subnormals and NaN included.
struct WidenedRows {
  const void* w = nullptr;
  WeightType type = WeightType::bf16;
  int64_t rows = 0, columns = 0, stride = 0;
  float* out = nullptr;
};
void widen(const WidenedRows& rows);

}  // namespace kvviz::kernels
