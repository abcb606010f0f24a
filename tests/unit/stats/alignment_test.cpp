// SPDX-License-Identifier: MIT
#include "kvviz/stats/alignment.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/stats/chance.hpp"

#include <doctest/doctest.h>

using namespace kvviz::stats;

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix gaussian(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  return Matrix::NullaryExpr(rows, cols, [&] { return normal(random); });
}

KernelProducts products_of(const std::vector<Matrix>& all) {
  return kernel_products(std::ssize(all), [&](int64_t i, std::vector<float>&) {
    return MatrixView{all[i].data(), all[i].rows(), all[i].cols()};
  });
}

/// X X' of the matrix less its column means, in double.
Eigen::MatrixXd kernel(const Matrix& x) {
  const Eigen::MatrixXd wide = x.cast<double>();
  const Eigen::MatrixXd centred = wide.rowwise() - wide.colwise().mean();
  return centred * centred.transpose();
}

double cka_of(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
  return a.cwiseProduct(b).sum() / (a.norm() * b.norm());
}

/// CKA for every order of the rows of one.
std::vector<double> permuted(const Matrix& x, const Matrix& y) {
  const Eigen::MatrixXd a = kernel(x), b = kernel(y);
  std::vector<int> order(x.rows());
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> values;
  do {
    const Eigen::PermutationMatrix<Eigen::Dynamic> p(Eigen::Map<Eigen::VectorXi>(order.data(), x.rows()));
    values.push_back(cka_of(a, p * b * p.transpose()));
  } while (std::next_permutation(order.begin(), order.end()));
  return values;
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("[alignment] CKA, its mean and its deviation over all permutations of the rows") {
  for (const int64_t rows : {4, 5, 7}) {
    std::vector<Matrix> x{gaussian(rows, 3, 1), gaussian(rows, 9, 2)};
    x[0].row(1) *= 5;  // a row far from the others: the part of the variance that the diagonals make
    x[1].row(2) *= 3;
    const Alignment a = alignment(products_of(x), 0, 1);
    const std::vector<double> all = permuted(x[0], x[1]);
    const double mean = mean_of(all);
    double variance = 0;
    for (const double value : all)
      variance += (value - mean) * (value - mean) / static_cast<double>(all.size());
    CHECK(a.cka.value == doctest::Approx(cka_of(kernel(x[0]), kernel(x[1]))).epsilon(1e-5));
    CHECK(a.cka.chance == doctest::Approx(mean).epsilon(1e-5));
    CHECK(a.cka.excess == doctest::Approx((all[0] - mean) / (1 - mean)).epsilon(1e-5));
    CHECK(a.deviations == doctest::Approx((all[0] - mean) / std::sqrt(variance)).epsilon(1e-4));
  }
}

TEST_CASE("[alignment] equal matrices, scaled or rotated: excess 1 within 1e-5 at any number of rows") {
  for (const int64_t rows : {3, 4, 8, 33, 100, 400})
    for (const int64_t cols : {1, 4, 64, 900}) {
      CAPTURE(rows);
      CAPTURE(cols);
      const Matrix x = gaussian(rows, cols, 3);
      const Eigen::MatrixXd turn =
          Eigen::HouseholderQR<Eigen::MatrixXd>(gaussian(cols, cols, 4).cast<double>()).householderQ();
      const KernelProducts p =
          products_of({x, x, 1e-20F * x, 1e15F * x, (x.cast<double>() * turn).cast<float>()});
      for (int64_t j = 1; j < 4; ++j) CHECK(std::abs(alignment(p, 0, j).cka.excess - 1) < 1e-5);
      // What rounding of the rotated copy to f32 leaves, where chance alone is near 1.
      CHECK(alignment(p, 0, 4).cka.excess == doctest::Approx(1).epsilon(2e-4));
    }
}

TEST_CASE("[alignment] independent matrices are at chance, whatever their shapes") {
  const KernelProducts p =
      products_of({gaussian(120, 4, 1), gaussian(120, 60, 2), gaussian(120, 500, 3), gaussian(120, 60, 4)});
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = i + 1; j < 4; ++j) {
      CHECK(std::abs(alignment(p, i, j).cka.excess) < 0.05);
      CHECK(std::abs(alignment(p, i, j).deviations) < chance_deviations(6));
    }
}

TEST_CASE("[alignment] blocks of rows and tiles of items change nothing") {
  // 60 matrices of 700 rows: blocks of 399 and 301 rows, tiles of 48 and 12.
  std::vector<Matrix> x;
  const Matrix common = gaussian(700, 5, 99);
  for (unsigned i = 0; i < 60; ++i) x.push_back(gaussian(700, 5, i) + 0.02F * static_cast<float>(i) * common);
  const KernelProducts p = products_of(x);
  for (const auto& [i, j] : {std::pair{0, 1}, {3, 50}, {47, 48}, {59, 58}, {59, 0}}) {
    const Alignment a = alignment(p, i, j);
    CHECK(a.cka.value == doctest::Approx(cka_of(kernel(x[i]), kernel(x[j]))).epsilon(1e-5));
    CHECK(a.cka.excess == alignment(p, j, i).cka.excess);
  }
}

TEST_CASE("[alignment] matrices side by side are one matrix") {
  const std::vector<Matrix> parts{gaussian(40, 3, 1), gaussian(40, 7, 2), 9 * gaussian(40, 2, 3),
                                  gaussian(40, 5, 4)};
  Matrix left(40, 10), right(40, 7);
  left << parts[0], parts[1];
  right << parts[2], parts[3];
  const Alignment got = alignment(joined(products_of(parts), std::vector<int64_t>{0, 0, 1, 1}, 2), 0, 1);
  const Alignment want = alignment(products_of({left, right}), 0, 1);
  CHECK(got.cka.value == doctest::Approx(want.cka.value).epsilon(1e-6));
  CHECK(got.cka.excess == doctest::Approx(want.cka.excess).epsilon(1e-4));
  CHECK(got.deviations == doctest::Approx(want.deviations).epsilon(1e-4));
  CHECK_THROWS_AS(joined(products_of(parts), std::vector<int64_t>{0}, 1), kvviz::DataError);
}

TEST_CASE("[alignment] a row that both share far away makes CKA large and the deviation large too") {
  std::vector<Matrix> x{gaussian(200, 8, 1), gaussian(200, 8, 2)};
  for (Matrix& one : x) one.row(0).setConstant(60);
  const Alignment a = alignment(products_of(x), 0, 1);
  CHECK(a.cka.excess > 0.9);
  // One order in 200 keeps the two rows together.
  CHECK(a.deviations == doctest::Approx(std::sqrt(199)).epsilon(0.02));
}

TEST_CASE("[alignment] what does not exist") {
  Matrix constant = Matrix::Constant(20, 3, 0.1F);
  KernelProducts p = products_of({constant, gaussian(20, 3, 1)});
  CHECK(std::isnan(alignment(p, 0, 1).cka.value));
  CHECK(std::isnan(alignment(p, 0, 0).cka.excess));
  CHECK(alignment(p, 1, 1).cka.excess == doctest::Approx(1));
  // Two rows are always alike, one is nothing.
  p = products_of({gaussian(2, 3, 1), gaussian(2, 3, 2)});
  CHECK(alignment(p, 0, 1).cka.value == doctest::Approx(1));
  CHECK(std::isnan(alignment(p, 0, 1).cka.excess));
  p = products_of({gaussian(1, 3, 1), gaussian(1, 3, 2)});
  CHECK(std::isnan(alignment(p, 0, 1).cka.value));
  p = products_of({gaussian(3, 3, 1), gaussian(3, 3, 2)});
  CHECK(std::isnan(alignment(p, 0, 1).deviations));
  CHECK(products_of({}).products.empty());
  CHECK_THROWS_AS(products_of({gaussian(4, 3, 1), gaussian(5, 3, 2)}), kvviz::DataError);
}
