// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "kvviz/stats/spectrum.hpp"

namespace kvviz::stats {

/// What to count in a column, and which rows count as the first.
struct ColumnRequest {
  double threshold = 0;    ///< below: |x| < threshold
  int64_t skip_first = 0;  ///< first rows kept apart in abs_first; at most all
};

/// Statistics of every column of a matrix over its rows, each vector [cols], sums in fp64.
struct ColumnStats {
  int64_t rows = 0, skipped = 0;  ///< skipped: min(skip_first, rows)
  std::vector<double> sum, sum_sq, abs_max;
  std::vector<double> m2, m4;               ///< about the column's mean
  std::vector<double> abs_first, abs_rest;  ///< sum |x| over the first `skipped` rows, over the others
  std::vector<double> abs_rest_m2;          ///< sum (|x| - mean)^2 over the others, about their mean of |x|
  std::vector<int64_t> below;
};

/// Two sweeps over a matrix that should fit the cache.
ColumnStats column_stats(MatrixView x, const ColumnRequest& request);

/// Median (mean of the middle two); kNone when empty. NaN are not allowed.
double median(std::vector<double> values);

}  // namespace kvviz::stats
