// SPDX-License-Identifier: MIT
#include "kvviz/stats/correlations.hpp"

#include <cblas.h>

#include <algorithm>
#include <cmath>

namespace kvviz::stats {
namespace {

constexpr int64_t kRows = 64;  // rows widened at a time

}  // namespace

std::vector<double> correlations(MatrixView x) {
  const int64_t n = x.cols;
  const std::vector<double> mean = column_means(x);
  std::vector<double> products(n * n), squares(n), rows(std::min(kRows, x.rows) * n);
  for (int64_t first = 0; first < x.rows; first += kRows) {
    const int64_t count = std::min(kRows, x.rows - first);
    for (int64_t r = 0; r < count; ++r) {
      const float* const row = x.data + (first + r) * n;
      for (int64_t c = 0; c < n; ++c) {
        const auto value = static_cast<double>(row[c]);
        rows[r * n + c] = value - mean[c];
        squares[c] += value * value;
      }
    }
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, static_cast<blasint>(n), static_cast<blasint>(count),
                1, rows.data(), static_cast<blasint>(n), 1, products.data(), static_cast<blasint>(n));
  }
  std::vector<double> scale(n);
  for (int64_t c = 0; c < n; ++c) {
    const double variance = products[c * n + c];
    scale[c] = variance > kNoVariance * squares[c] ? 1 / std::sqrt(variance) : kNone;
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i + 1; j < n; ++j) {
      const double r = products[i * n + j] * scale[i] * scale[j];
      products[i * n + j] = products[j * n + i] = std::isnan(r) ? r : std::clamp(r, -1.0, 1.0);
    }
    products[i * n + i] = std::isnan(scale[i]) ? kNone : 1;
  }
  return products;
}

void add_row_products(MatrixView x, std::span<double> sum) {
  const std::vector<double> wide(x.data, x.data + x.rows * x.cols);
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, static_cast<blasint>(x.rows),
              static_cast<blasint>(x.cols), 1, wide.data(), static_cast<blasint>(x.cols), 1, sum.data(),
              static_cast<blasint>(x.rows));
}

}  // namespace kvviz::stats
