// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/stats/leading_vectors.hpp"

namespace kvviz::stats {

/// The columns of `matrix` less their means, f32, and what they carry.
struct CentredMatrix {
  std::vector<float> values;  ///< row-major [rows, cols]
  std::vector<double> mean;   ///< [cols], what was taken off
  int64_t rows = 0, cols = 0;
  double energy = 0;  ///< sum of squares; 0 where rounding alone explains it
  MatrixView view() const { return {values.data(), rows, cols}; }
};
CentredMatrix centred(MatrixView matrix);

/// The least number of the leading directions that carry `share` of `total`; all of them if they do not.
int64_t directions_for(const Basis& basis, double total, double share);

/// How two subspaces of one space lie to each other, by their principal angles (Bjorck & Golub, Math. Comp.
/// 27, 1973): as many as the smaller has dimensions.
struct SubspaceOverlap {
  int64_t rank_a = 0, rank_b = 0;
  double mean_cos2 = kNone;      ///< 0 orthogonal .. 1 one inside the other
  double chance = kNone;         ///< its mean for subspaces of random direction: larger rank / dimensions
  double excess = kNone;         ///< (mean_cos2 - chance) / (1 - chance); kNone where chance is 1
  double largest_angle = kNone;  ///< degrees, 0 .. 90
};

/// Of the spans of the first rank_a and rank_b columns. `dimensions`: of the space they could lie in (rows -
/// 1 for centred columns). Make a SerialBlas first. Cost 2 size rank_a rank_b flops.
SubspaceOverlap overlap(const Basis& a, int64_t rank_a, const Basis& b, int64_t rank_b, int64_t dimensions);

/// A matrix predicted from another one, row by row.
struct Prediction {
  int64_t components = 0;  ///< of the predictors
  double r2 = kNone;  ///< 1 - |Y - Y^|^2 / |Y - mean|^2 over the judged rows: 1 all, 0 no better than the
                      ///< mean of the fitted rows, below 0 worse; kNone where that denominator is 0
};

/// Least squares with intercept: y_fit on the `components` leading principal components of x_fit, judged on
/// rows that it has not seen. `basis` are right singular vectors of x_fit (leading_right()). Centres are
/// those of the fitted rows. Make a SerialBlas first.
struct PredictionRows {
  const CentredMatrix* fit = nullptr;  ///< fitted rows
  MatrixView judge;                    ///< rows to judge by, as they are
};
Prediction predict(const PredictionRows& x, const Basis& basis, int64_t components, const PredictionRows& y);

}  // namespace kvviz::stats
