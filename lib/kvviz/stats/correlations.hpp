// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

#include "kvviz/stats/spectrum.hpp"

namespace kvviz::stats {

/// Pearson correlation of every pair of columns over the rows, signed, row-major [cols, cols], fp64; 1 on the
/// diagonal. kNone for a column without variance (less than kNoVariance x its sum of squares). rows x cols^2
/// flops. Make a SerialBlas first.
std::vector<double> correlations(MatrixView x);

/// sum += XX', the upper triangle of row-major [rows, rows], fp64. rows^2 x cols flops. Make a SerialBlas
/// first.
void add_row_products(MatrixView x, std::span<double> sum);

}  // namespace kvviz::stats
