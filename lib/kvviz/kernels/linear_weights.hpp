// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace kvviz::kernels {

/// How a weight is stored: IEEE single, bfloat16, IEEE half.
enum class WeightType { f32, bf16, f16 };

inline int64_t bytes_of(WeightType type) {
  return type == WeightType::f32 ? 4 : 2;
}

/// A linear layer: weights [out, in], row-major and dense, and a bias [out] in f32. Borrowed.
struct LinearWeights {
  const void* data = nullptr;
  WeightType type = WeightType::f32;
  int64_t in = 0, out = 0;
  const float* bias = nullptr;  ///< null: none

  /// From output `row` on, `rows` outputs.
  LinearWeights rows(int64_t row, int64_t rows) const {
    return {static_cast<const char*>(data) + row * in * bytes_of(type), type, in, rows,
            bias != nullptr ? bias + row : nullptr};
  }
};

}  // namespace kvviz::kernels
