// SPDX-License-Identifier: MIT
#include "kvviz/stats/channels.hpp"

#include <algorithm>
#include <cmath>

namespace kvviz::stats {
namespace {

/// sum, sum_sq, abs_max, below and sum |x| of rows [first, last).
void first_sweep(MatrixView x, int64_t first, int64_t last, double threshold, ColumnStats& s,
                 double* abs_sum) {
  const int64_t cols = x.cols;
  double *sum = s.sum.data(), *sum_sq = s.sum_sq.data(), *top = s.abs_max.data();
  int64_t* below = s.below.data();
  for (int64_t r = first; r < last; ++r) {
    const float* row = x.data + r * cols;
#pragma omp simd
    for (int64_t c = 0; c < cols; ++c) {
      const double value = row[c], magnitude = std::fabs(value);
      sum[c] += value;
      sum_sq[c] += value * value;
      abs_sum[c] += magnitude;
      top[c] = std::max(top[c], magnitude);
      below[c] += magnitude < threshold ? 1 : 0;
    }
  }
}

void central_sweep(MatrixView x, const std::vector<double>& mean, const std::vector<double>& abs_mean,
                   ColumnStats& s) {
  const int64_t cols = x.cols;
  double *m2 = s.m2.data(), *m4 = s.m4.data(), *rest = s.abs_rest_m2.data();
  for (int64_t r = 0; r < x.rows; ++r) {
    const float* row = x.data + r * cols;
    const double counted = r >= s.skipped ? 1 : 0;
#pragma omp simd
    for (int64_t c = 0; c < cols; ++c) {
      const double value = row[c], d = value - mean[c], a = std::fabs(value) - abs_mean[c];
      const double d2 = d * d;
      m2[c] += d2;
      m4[c] += d2 * d2;
      rest[c] += counted * a * a;
    }
  }
}

}  // namespace

ColumnStats column_stats(MatrixView x, const ColumnRequest& request) {
  ColumnStats s;
  s.rows = x.rows;
  s.skipped = std::min(request.skip_first, x.rows);
  for (auto* values :
       {&s.sum, &s.sum_sq, &s.abs_max, &s.m2, &s.m4, &s.abs_first, &s.abs_rest, &s.abs_rest_m2}) {
    values->assign(x.cols, 0.0);
  }
  s.below.assign(x.cols, 0);
  first_sweep(x, 0, s.skipped, request.threshold, s, s.abs_first.data());
  first_sweep(x, s.skipped, x.rows, request.threshold, s, s.abs_rest.data());

  std::vector<double> mean(x.cols), abs_mean(x.cols);
  const auto rows = static_cast<double>(x.rows),
             rest = static_cast<double>(std::max<int64_t>(x.rows - s.skipped, 1));
  for (int64_t c = 0; c < x.cols; ++c) {
    mean[c] = s.sum[c] / rows;
    abs_mean[c] = s.abs_rest[c] / rest;
  }
  central_sweep(x, mean, abs_mean, s);
  return s;
}

double median(std::vector<double> values) {
  if (values.empty()) return kNone;
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

}  // namespace kvviz::stats
