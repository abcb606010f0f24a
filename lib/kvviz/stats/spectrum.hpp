// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/stats/blas.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::stats {

/// A dense row-major f32 matrix that is borrowed: rows are tokens, columns are channels.
struct MatrixView {
  const float* data = nullptr;
  int64_t rows = 0, cols = 0;
};

/// Mean of every column, fp64.
std::vector<double> column_means(MatrixView x);

/// X'X [cols, cols], or XX' [rows, rows] when there are fewer rows than columns: both have the squares of the
/// singular values of X as eigenvalues. Symmetric, row-major, fp64.
struct Gram {
  int64_t side = 0;
  std::vector<double> values;
  double trace = 0;  ///< sum of squares
  double norm = 0;   ///< Frobenius
};

/// Gram of X less `center` (one number a column; empty: X as it is). A trace that rounding alone explains
/// (kNoVariance x the sum of squares of X) becomes 0 with the whole matrix. rows x cols x side flops; memory
/// side^2 + O(cols) doubles whatever the rows, or rows x cols when these are the fewer. Make a SerialBlas
/// first.
Gram gram(MatrixView x, std::span<const double> center);

/// |Xc'Yc|^2 (Frobenius, squared) of two matrices with as many rows, each less its column means. 2 rows
/// cols_x cols_y flops, cols_x x cols_y doubles. Make a SerialBlas first.
double cross_energy(MatrixView x, std::span<const double> x_center, MatrixView y,
                    std::span<const double> y_center);

/// Eigenvalues of a Gram matrix, descending: squared singular values. Those below side x 2.2e-16 of the
/// largest are rounding and become 0.
std::vector<double> energies(const Gram& gram);

/// exp(-sum p ln p), p_i = s_i / sum s with the singular values s = sqrt(energy) (Roy & Vetterli, EUSIPCO
/// 2007). 1 .. number of values; kNone when all are 0.
double effective_rank(std::span<const double> energies);

/// sum energy / largest energy (Rudelson & Vershynin, J. ACM 2007). kNone when all are 0.
double stable_rank(std::span<const double> energies);

/// The least number of largest energies that sum to at least 90, 95 and 99 % of the total; 0 when all are 0.
std::array<int64_t, 3> components(std::span<const double> energies);

/// Linear CKA of two centred matrices with the same rows, the value expected when the rows are paired at
/// random, and what is left above that. kNone when one of the matrices is 0.
struct Cka {
  double value = kNone;   ///< cross_energy / (|Gx| |Gy|) (Kornblith et al., ICML 2019), 0 .. 1
  double chance = kNone;  ///< exact mean over all permutations of rows: tr Gx tr Gy / ((rows - 1) |Gx| |Gy|)
  double excess = kNone;  ///< (value - chance) / (1 - chance); kNone when chance is 1
};
Cka cka(const Gram& x, const Gram& y, double cross, int64_t rows);

}  // namespace kvviz::stats
