// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "kvviz/kernels/linear_weights.hpp"

namespace kvviz::kernels {

/// y [rows, out] = x [rows, in] W^T + b for a few rows, in one thread. Strides are elements from row to row.
/// Weights are widened to f32 as they are read.
struct FewRowsProduct {
  const float* x = nullptr;
  int64_t rows = 0, in = 0;
  const void* w = nullptr;  ///< [out, in]
  int64_t w_stride = 0;
  const float* b = nullptr;  ///< [out] or null
  float* y = nullptr;
  int64_t out = 0, y_stride = 0;
  WeightType type = WeightType::f32;
};
void few_rows_product(const FewRowsProduct& product);

}  // namespace kvviz::kernels
