// SPDX-License-Identifier: MIT
#include "kvviz/stats/subspaces.hpp"

#include <cblas.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numbers>

#include "kvviz/core/error.hpp"

namespace kvviz::stats {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Floats> map_of(MatrixView x) {
  return {x.data, x.rows, x.cols};
}

RowMajor leading_columns(const Basis& basis, int64_t rank) {
  return Eigen::Map<const RowMajor>(basis.vectors.data(), basis.size, basis.rank).leftCols(rank);
}

/// op(a) b
RowMajor product(CBLAS_TRANSPOSE op, const RowMajor& a, const RowMajor& b) {
  RowMajor out(op == CblasTrans ? a.cols() : a.rows(), b.cols());
  cblas_dgemm(CblasRowMajor, op, CblasNoTrans, static_cast<blasint>(out.rows()),
              static_cast<blasint>(out.cols()), static_cast<blasint>(b.rows()), 1, a.data(),
              static_cast<blasint>(a.cols()), b.data(), static_cast<blasint>(b.cols()), 0, out.data(),
              static_cast<blasint>(out.cols()));
  return out;
}

RowMajor less_mean(MatrixView x, const std::vector<double>& mean) {
  return map_of(x).cast<double>().rowwise() -
         Eigen::Map<const Eigen::RowVectorXd>(mean.data(), std::ssize(mean));
}

}  // namespace

CentredMatrix centred(MatrixView matrix) {
  CentredMatrix c{.mean = column_means(matrix), .rows = matrix.rows, .cols = matrix.cols};
  c.values.resize(matrix.rows * matrix.cols);
  double squares = 0;
  for (int64_t r = 0; r < matrix.rows; ++r) {
    const float* const from = matrix.data + r * matrix.cols;
    float* const to = c.values.data() + r * matrix.cols;
    double energy = 0, row_squares = 0;
#pragma omp simd reduction(+ : energy, row_squares)
    for (int64_t k = 0; k < matrix.cols; ++k) {
      const double value = from[k], above = value - c.mean[k];
      row_squares += value * value;
      energy += above * above;
      to[k] = static_cast<float>(above);
    }
    c.energy += energy;
    squares += row_squares;
  }
  if (c.energy <= kNoVariance * squares) c.energy = 0;
  return c;
}

int64_t directions_for(const Basis& basis, double total, double share) {
  double sum = 0;
  for (int64_t i = 0; i < basis.rank; ++i) {
    sum += basis.energies[i];
    // The slack keeps an exact share from asking for one more by rounding.
    if (sum >= share * total * (1 - 1e-12)) return i + 1;
  }
  return basis.rank;
}

SubspaceOverlap overlap(const Basis& a, int64_t rank_a, const Basis& b, int64_t rank_b, int64_t dimensions) {
  require(a.size == b.size && rank_a >= 1 && rank_a <= a.rank && rank_b >= 1 && rank_b <= b.rank,
          "[overlap] got subspaces of ", a.size, " and ", b.size, " rows, ranks ", rank_a, " and ", rank_b);
  SubspaceOverlap result{.rank_a = rank_a, .rank_b = rank_b};
  const RowMajor cross = product(CblasTrans, leading_columns(a, rank_a), leading_columns(b, rank_b));
  const RowMajor smaller =
      rank_a <= rank_b ? RowMajor(cross * cross.transpose()) : RowMajor(cross.transpose() * cross);
  const Eigen::SelfAdjointEigenSolver<RowMajor> solver(smaller, Eigen::EigenvaluesOnly);
  result.mean_cos2 = std::min(smaller.trace() / static_cast<double>(smaller.rows()), 1.0);
  const double least = std::clamp(solver.eigenvalues()[0], 0.0, 1.0);
  result.largest_angle = std::acos(std::sqrt(least)) * 180 / std::numbers::pi;
  result.chance =
      std::min(1.0, static_cast<double>(std::max(rank_a, rank_b)) / static_cast<double>(dimensions));
  if (result.chance < 1) result.excess = (result.mean_cos2 - result.chance) / (1 - result.chance);
  return result;
}

Prediction predict(const PredictionRows& x, const Basis& basis, int64_t components, const PredictionRows& y) {
  require(x.fit->rows == y.fit->rows && x.judge.rows == y.judge.rows && basis.size == x.fit->cols &&
              components >= 1 && components <= basis.rank,
          "[predict] got ", x.fit->rows, " and ", y.fit->rows, " rows to fit, ", x.judge.rows, " and ",
          y.judge.rows, " to judge, ", components, " components");
  const RowMajor directions = leading_columns(basis, components);
  const RowMajor fitted = product(CblasNoTrans, map_of(x.fit->view()).cast<double>(), directions);
  RowMajor weights = product(CblasTrans, fitted, map_of(y.fit->view()).cast<double>());
  for (int64_t c = 0; c < components; ++c) {
    // The components are orthogonal: each is a regression of its own.
    const double energy = fitted.col(c).squaredNorm();
    if (basis.energies[c] > 0)
      weights.row(c) /= energy;
    else
      weights.row(c).setZero();
  }
  const RowMajor judged = product(CblasNoTrans, less_mean(x.judge, x.fit->mean), directions);
  const RowMajor wanted = less_mean(y.judge, y.fit->mean);
  Prediction result{.components = components};
  const double all = wanted.squaredNorm();
  const double squares = map_of(y.judge).cast<double>().squaredNorm();
  if (all > kNoVariance * squares)
    result.r2 = 1 - (wanted - product(CblasNoTrans, judged, weights)).squaredNorm() / all;
  return result;
}

}  // namespace kvviz::stats
