// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

namespace kvviz::kernels {

struct RowSummary {
  float maximum = 0;
  double log_sum_exp = 0;  ///< ln sum_j e^x[j]
};

/// Maximum and log-sum-exp of every row of x [rows, columns], dense f32, columns >= 1. Exponentials are f32
/// with a relative error below 4e-7, summed in f32 over 1,024 columns and in f64 beyond; x[j] more than 87
/// below the largest of its 1,024 counts as 87 below. Reads x once; the threads share out the rows. A NaN or
/// +inf in a row makes its log_sum_exp NaN.
std::vector<RowSummary> log_sum_exp(const float* x, int64_t rows, int64_t columns);

}  // namespace kvviz::kernels
