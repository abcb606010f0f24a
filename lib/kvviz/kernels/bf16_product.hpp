// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>

namespace kvviz::kernels {

/// Whether bf16_product() can be called: built with oneDNN, on a processor with bf16 instructions.
bool bf16_products();

/// The library, its version and the instructions; or why there is no bf16_product().
std::string bf16_products_method();

/// y [rows, out] = x [rows, in] W^T + b, all of bf16 and f32 sums, in the calling thread; rows, in, out > 0.
struct Bf16Product {
  const uint16_t* x = nullptr;
  int64_t rows = 0, in = 0;
  const uint16_t* w = nullptr;  ///< [out, in]
  const float* b = nullptr;     ///< [out] or null
  float* y = nullptr;
  int64_t out = 0, y_stride = 0;
};
void bf16_product(const Bf16Product& product);

}  // namespace kvviz::kernels
