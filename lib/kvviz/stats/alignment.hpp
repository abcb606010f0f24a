// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kvviz/stats/spectrum.hpp"

namespace kvviz::stats {

/// The rows of matrix `item`, made in `scratch` where they are not there in f32. Called from several threads,
/// more than once an item.
using ItemRows = std::function<MatrixView(int64_t item, std::vector<float>& scratch)>;

/// What linear CKA between all pairs of many matrices of the same rows needs of them. G = Xc Xc' is the
/// kernel of a matrix less its column means, H = I - 11'/rows, and A = G - tr G / (rows - 1) H what is left
/// of it when its trace is spread evenly: <A_x, A_y> = <G_x, G_y> less its mean over all permutations of the
/// rows of one, tr G_x tr G_y / (rows - 1). So what chance explains is taken off before the products, not
/// after them.
struct KernelProducts {
  int64_t items = 0, rows = 0;
  std::vector<double> products;   ///< [items, items] <A_i, A_j>, symmetric
  std::vector<double> traces;     ///< [items] tr G
  std::vector<double> diagonals;  ///< [items, rows] of G
  std::vector<double> squares;    ///< [items] sum of the squares of diag G / tr G; kNone without a trace
};

/// Products of all pairs. Kernels exist only in blocks of rows: memory 64 MiB, or items x rows x 8 floats
/// where that is more, plus the result; never rows x rows x items. Each matrix is scaled to one energy,
/// kernels and products are f32 with f64 sums over pieces of 2048 elements. 1/2 rows^2 (2 columns + items)
/// items flops, in parallel. An item whose trace is rounding (kNoVariance) has none. Throws DataError when
/// rows differ.
KernelProducts kernel_products(int64_t items, const ItemRows& rows_of);

/// Of the matrices whose items stand side by side as one: item i is part of matrix group[i] of `groups`.
/// Their kernels add up.
KernelProducts joined(const KernelProducts& parts, std::span<const int64_t> group, int64_t groups);

/// CKA of two of the matrices against the permutations of the rows of one.
struct Alignment {
  Cka cka;
  /// (value - chance) / standard deviation of the value over all permutations (Kazi-Aoual, Hitier, Sabatier &
  /// Lebreton, Comput. Stat. Data Anal. 20, 1995). A token far from all others makes two matrices alike
  /// wherever they share it, and also makes this standard deviation large. kNone for fewer than four rows.
  double deviations = kNone;
};
Alignment alignment(const KernelProducts& products, int64_t i, int64_t j);

}  // namespace kvviz::stats
