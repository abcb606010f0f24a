// SPDX-License-Identifier: MIT
#include "kvviz/stats/leading_vectors.hpp"

#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <cmath>
#include <random>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/stats/blas.hpp"

using namespace kvviz;
using namespace kvviz::stats;

namespace {

using Matrix = Eigen::MatrixXd;

Matrix gaussian_matrix(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  return Matrix::NullaryExpr(rows, cols, [&] { return normal(random); });
}

const SerialBlas serial;

}  // namespace

TEST_CASE("[leading_vectors] singular vectors of tall and wide matrices, also beyond the rank") {
  using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  for (const auto& [rows, cols] : {std::pair{40, 6}, std::pair{6, 40}, std::pair{8, 8}}) {
    const Matrix thin = gaussian_matrix(rows, 3, 20) * gaussian_matrix(3, cols, 21);
    for (const Matrix& full : {gaussian_matrix(rows, cols, 22), thin}) {
      const Floats x = full.cast<float>();
      const Matrix wide = x.cast<double>();
      const Eigen::JacobiSVD<Matrix> svd(wide, Eigen::ComputeThinU | Eigen::ComputeThinV);
      const Basis left = leading_left({x.data(), rows, cols}, 5),
                  right = leading_right({x.data(), rows, cols}, 5);
      using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
      const Matrix u = Eigen::Map<const RowMajor>(left.vectors.data(), rows, 5),
                   v = Eigen::Map<const RowMajor>(right.vectors.data(), cols, 5);
      for (const Matrix& basis : {u, v})
        CHECK((basis.transpose() * basis - Matrix::Identity(5, 5)).cwiseAbs().maxCoeff() < 1e-9);
      const double largest = svd.singularValues()[0] * svd.singularValues()[0];
      for (int i = 0; i < 5; ++i) {
        const double energy = svd.singularValues()[i] * svd.singularValues()[i];
        CHECK(std::fabs(left.energies[i] - energy) < 1e-12 * largest);
        CHECK(std::fabs(right.energies[i] - energy) < 1e-12 * largest);
      }
      const auto lost = [&](const Matrix& a, const Matrix& b) {
        return (a * a.transpose() - b * b.transpose()).norm();
      };
      CHECK(lost(u.leftCols(3), svd.matrixU().leftCols(3)) < 1e-9);
      CHECK(lost(v.leftCols(3), svd.matrixV().leftCols(3)) < 1e-9);
    }
  }
  const std::vector<float> x(12, 1.0F);
  CHECK_THROWS_AS(leading_left({x.data(), 3, 4}, 4), DataError);
  CHECK_THROWS_AS(leading_right({x.data(), 3, 4}, 0), DataError);
}
