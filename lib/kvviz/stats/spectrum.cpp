// SPDX-License-Identifier: MIT
#include "kvviz/stats/spectrum.hpp"

#include <cblas.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"

namespace kvviz::stats {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr int64_t kRows = 64;  // rows widened at a time: small buffers stay in the cache and in the heap

blasint blas(int64_t n) {
  return static_cast<blasint>(n);
}

/// Rows [first, first + count) of x in fp64, less the centre.
void widen(MatrixView x, std::span<const double> center, int64_t first, int64_t count, double* out) {
  for (int64_t r = 0; r < count; ++r) {
    const float* row = x.data + (first + r) * x.cols;
    double* to = out + r * x.cols;
    if (center.empty()) {
      for (int64_t c = 0; c < x.cols; ++c) to[c] = static_cast<double>(row[c]);
    } else {
      for (int64_t c = 0; c < x.cols; ++c) to[c] = static_cast<double>(row[c]) - center[c];
    }
  }
}

double sum_of_squares(MatrixView x) {
  double sum = 0;
  const int64_t n = x.rows * x.cols;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x.data[i]) * static_cast<double>(x.data[i]);
  return sum;
}

void mirror(Gram& g) {
  for (int64_t i = 0; i < g.side; ++i) {
    for (int64_t j = i + 1; j < g.side; ++j) g.values[j * g.side + i] = g.values[i * g.side + j];
  }
}

void gram_of_columns(MatrixView x, std::span<const double> center, Gram& g) {
  std::vector<double> rows(std::min(kRows, x.rows) * x.cols);
  for (int64_t first = 0; first < x.rows; first += kRows) {
    const int64_t count = std::min(kRows, x.rows - first);
    widen(x, center, first, count, rows.data());
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, blas(x.cols), blas(count), 1, rows.data(),
                blas(x.cols), first == 0 ? 0 : 1, g.values.data(), blas(x.cols));
  }
}

void gram_of_rows(MatrixView x, std::span<const double> center, Gram& g) {
  std::vector<double> rows(x.rows * x.cols);
  widen(x, center, 0, x.rows, rows.data());
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, blas(x.rows), blas(x.cols), 1, rows.data(),
              blas(x.cols), 0, g.values.data(), blas(x.rows));
}

}  // namespace

std::vector<double> column_means(MatrixView x) {
  std::vector<double> means(x.cols, 0.0);
  for (int64_t r = 0; r < x.rows; ++r) {
    const float* row = x.data + r * x.cols;
    for (int64_t c = 0; c < x.cols; ++c) means[c] += static_cast<double>(row[c]);
  }
  for (double& mean : means) mean /= static_cast<double>(x.rows);
  return means;
}

Gram gram(MatrixView x, std::span<const double> center) {
  require(center.empty() || std::ssize(center) == x.cols, "[gram] got a centre of ", center.size(),
          " numbers; expected ", x.cols);
  Gram g;
  g.side = std::min(x.rows, x.cols);
  g.values.assign(g.side * g.side, 0.0);
  x.rows < x.cols ? gram_of_rows(x, center, g) : gram_of_columns(x, center, g);
  mirror(g);
  for (int64_t i = 0; i < g.side; ++i) g.trace += g.values[i * g.side + i];
  if (g.trace <= kNoVariance * sum_of_squares(x)) {
    g.trace = 0;
    std::ranges::fill(g.values, 0.0);
  }
  g.norm = Eigen::Map<const Eigen::VectorXd>(g.values.data(), std::ssize(g.values)).norm();
  return g;
}

double cross_energy(MatrixView x, std::span<const double> x_center, MatrixView y,
                    std::span<const double> y_center) {
  require(x.rows == y.rows, "[cross_energy] got ", x.rows, " and ", y.rows, " rows; expected as many");
  std::vector<double> left(std::min(kRows, x.rows) * x.cols), right(std::min(kRows, x.rows) * y.cols);
  std::vector<double> cross(x.cols * y.cols);
  for (int64_t first = 0; first < x.rows; first += kRows) {
    const int64_t count = std::min(kRows, x.rows - first);
    widen(x, x_center, first, count, left.data());
    widen(y, y_center, first, count, right.data());
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, blas(x.cols), blas(y.cols), blas(count), 1,
                left.data(), blas(x.cols), right.data(), blas(y.cols), first == 0 ? 0 : 1, cross.data(),
                blas(y.cols));
  }
  return Eigen::Map<const Eigen::VectorXd>(cross.data(), std::ssize(cross)).squaredNorm();
}

std::vector<double> energies(const Gram& gram) {
  std::vector<double> values(gram.side, 0.0);
  if (gram.trace == 0) return values;
  const Eigen::Map<const RowMajor> matrix(gram.values.data(), gram.side, gram.side);
  const Eigen::SelfAdjointEigenSolver<RowMajor> solver(matrix, Eigen::EigenvaluesOnly);
  require(solver.info() == Eigen::Success, "[energies] the eigenvalues of a ", gram.side, " x ", gram.side,
          " Gram matrix did not converge");
  std::ranges::reverse_copy(solver.eigenvalues(), values.begin());
  const double rounding =
      static_cast<double>(gram.side) * std::numeric_limits<double>::epsilon() * values.front();
  for (double& value : values) {
    if (value < rounding) value = 0;
  }
  return values;
}

double effective_rank(std::span<const double> energies) {
  double sum = 0, weighted = 0;
  for (const double energy : energies) {
    const double s = std::sqrt(energy);
    sum += s;
    if (s > 0) weighted += s * std::log(s);
  }
  return sum > 0 ? std::exp(std::log(sum) - weighted / sum) : kNone;
}

double stable_rank(std::span<const double> energies) {
  const double sum = std::accumulate(energies.begin(), energies.end(), 0.0);
  return sum > 0 ? sum / *std::ranges::max_element(energies) : kNone;
}

std::array<int64_t, 3> components(std::span<const double> energies) {
  constexpr std::array<double, 3> shares{0.90, 0.95, 0.99};
  const double total = std::accumulate(energies.begin(), energies.end(), 0.0);
  std::array<int64_t, 3> counts{0, 0, 0};
  for (size_t i = 0; i < shares.size() && total > 0; ++i) {
    double sum = 0;
    // The slack keeps an exact share (9 of 10 equal energies) from asking for one more by rounding.
    while (sum < shares[i] * total * (1 - 1e-12)) sum += energies[counts[i]++];
  }
  return counts;
}

Cka cka(const Gram& x, const Gram& y, double cross, int64_t rows) {
  Cka result;
  if (x.norm == 0 || y.norm == 0) return result;
  result.value = std::clamp(cross / (x.norm * y.norm), 0.0, 1.0);
  result.chance = std::min(x.trace / x.norm * (y.trace / y.norm) / static_cast<double>(rows - 1), 1.0);
  if (result.chance < 1 - 1e-9) result.excess = (result.value - result.chance) / (1 - result.chance);
  return result;
}

}  // namespace kvviz::stats
