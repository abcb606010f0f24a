// SPDX-License-Identifier: MIT
#include "kvviz/stats/subspaces.hpp"

#include <Eigen/Dense>
#include <cmath>
#include <numbers>
#include <random>

#include "kvviz/core/error.hpp"
#include "kvviz/stats/blas.hpp"

#include <doctest/doctest.h>

using namespace kvviz::stats;

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Wide = Eigen::MatrixXd;

Matrix gaussian(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  return Matrix::NullaryExpr(rows, cols, [&] { return normal(random); });
}

MatrixView view(const Matrix& x) {
  return {x.data(), x.rows(), x.cols()};
}

Basis basis_of(const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>& vectors) {
  Basis basis{.size = vectors.rows(), .rank = vectors.cols()};
  basis.vectors.assign(vectors.data(), vectors.data() + vectors.size());
  basis.energies.assign(vectors.cols(), 1);
  return basis;
}

const SerialBlas serial;

}  // namespace

TEST_CASE("[subspaces] principal angles: a plane turned by known angles, a line in a plane") {
  const double a = 0.3, b = 1.1;
  Wide plane = Wide::Zero(6, 2), turned = Wide::Zero(6, 2);
  plane(0, 0) = plane(1, 1) = 1;
  turned(0, 0) = std::cos(a), turned(2, 0) = std::sin(a);
  turned(1, 1) = std::cos(b), turned(3, 1) = std::sin(b);
  const SubspaceOverlap o = overlap(basis_of(plane), 2, basis_of(turned), 2, 5);
  CHECK(o.mean_cos2 == doctest::Approx((std::pow(std::cos(a), 2) + std::pow(std::cos(b), 2)) / 2));
  CHECK(o.largest_angle == doctest::Approx(b * 180 / std::numbers::pi));
  CHECK(o.chance == doctest::Approx(2.0 / 5));
  CHECK(o.excess == doctest::Approx((o.mean_cos2 - 0.4) / 0.6));
  // The line of the first column lies in the plane that contains it.
  const SubspaceOverlap line = overlap(basis_of(plane), 1, basis_of(plane), 2, 5);
  CHECK(line.mean_cos2 == doctest::Approx(1));
  CHECK(line.largest_angle < 1e-5);
  CHECK(line.rank_a == 1);
  CHECK(std::isnan(overlap(basis_of(plane), 2, basis_of(turned), 2, 2).excess));
  CHECK_THROWS_AS(overlap(basis_of(plane), 3, basis_of(turned), 2, 5), kvviz::DataError);
}

TEST_CASE("[subspaces] random subspaces overlap by chance: rank / dimensions") {
  double mean = 0;
  for (unsigned seed = 0; seed < 40; ++seed) {
    const Basis a = leading_left(view(gaussian(60, 9, 2 * seed)), 9),
                b = leading_left(view(gaussian(60, 5, 2 * seed + 1)), 5);
    const SubspaceOverlap o = overlap(a, 9, b, 5, 60);
    CHECK(o.chance == doctest::Approx(9.0 / 60));
    mean += o.mean_cos2 / 40;
  }
  CHECK(mean == doctest::Approx(0.15).epsilon(0.05));
}

TEST_CASE("[subspaces] centring, and how many directions carry a share") {
  Matrix x(4, 2);
  x << 1, 10, 1, -10, 1, 10, 1, -10;
  const CentredMatrix c = centred(view(x));
  CHECK(c.mean == std::vector<double>{1, 0});
  CHECK(c.energy == doctest::Approx(400));
  CHECK(c.values == std::vector<float>{0, 10, 0, -10, 0, 10, 0, -10});
  CHECK(centred(view(Matrix::Constant(9, 3, 0.1F))).energy == 0);
  const Basis basis{.size = 4, .rank = 3, .vectors = {}, .energies = {6, 3, 1}};
  CHECK(directions_for(basis, 10, 0.6) == 1);
  CHECK(directions_for(basis, 10, 0.61) == 2);
  CHECK(directions_for(basis, 10, 0.9) == 2);
  CHECK(directions_for(basis, 20, 0.9) == 3);  // all that there are
}

namespace {

/// Judged by least squares with intercept on the components of a Jacobi SVD, in double.
double reference_r2(const Matrix& x, const Matrix& y, int64_t fitted, int64_t components) {
  const Wide xf = x.topRows(fitted).cast<double>(), yf = y.topRows(fitted).cast<double>();
  const int64_t judged = x.rows() - fitted;
  const Eigen::RowVectorXd mx = xf.colwise().mean(), my = yf.colwise().mean();
  const Wide xc = xf.rowwise() - mx;
  const Eigen::JacobiSVD<Wide> svd(xc, Eigen::ComputeThinV);
  const Wide v = svd.matrixV().leftCols(components);
  Wide design(fitted, components + 1);
  design << Wide::Ones(fitted, 1), xc * v;
  const Wide weights = design.colPivHouseholderQr().solve(yf);
  Wide test(judged, components + 1);
  test << Wide::Ones(judged, 1), (x.bottomRows(judged).cast<double>().rowwise() - mx) * v;
  const Wide wanted = y.bottomRows(judged).cast<double>();
  return 1 - (wanted - test * weights).squaredNorm() / (wanted.rowwise() - my).squaredNorm();
}

Prediction predict_rows(const Matrix& x, const Matrix& y, int64_t fitted, int64_t components) {
  const auto fit = [&](const Matrix& m) { return centred({m.data(), fitted, m.cols()}); };
  const auto judge = [&](const Matrix& m) {
    return MatrixView{m.data() + fitted * m.cols(), m.rows() - fitted, m.cols()};
  };
  const CentredMatrix xf = fit(x), yf = fit(y);
  const Basis basis = leading_right(xf.view(), components);
  return predict({&xf, judge(x)}, basis, components, {&yf, judge(y)});
}

}  // namespace

TEST_CASE("[subspaces] held-out prediction is least squares with intercept on principal components") {
  const Matrix x = gaussian(90, 12, 1), noise = gaussian(90, 30, 2);
  Matrix y = x * gaussian(12, 30, 3) + 0.5F * noise;
  y.array() += 40;  // the intercept
  for (const int64_t components : {1, 4, 12})
    CHECK(predict_rows(x, y, 60, components).r2 ==
          doctest::Approx(reference_r2(x, y, 60, components)).epsilon(1e-6));
  // More channels than fitted rows: in-sample, the fit would be exact.
  const Matrix wide = gaussian(90, 200, 4);
  CHECK(predict_rows(wide, y, 40, 10).r2 == doctest::Approx(reference_r2(wide, y, 40, 10)).epsilon(1e-6));
}

TEST_CASE("[subspaces] noise predicts nothing, a linear image everything, a constant has no R2") {
  const Matrix x = gaussian(200, 20, 1);
  const double nothing = predict_rows(x, gaussian(200, 300, 2), 100, 20).r2;
  CHECK(nothing < 0);
  CHECK(nothing > -0.5);
  CHECK(predict_rows(x, x * gaussian(20, 50, 3), 100, 20).r2 > 1 - 1e-9);
  CHECK(std::isnan(predict_rows(x, Matrix::Constant(200, 3, 0.7F), 100, 5).r2));
  // A direction without energy has no weight.
  Matrix flat = x;
  flat.rightCols(15).setZero();
  CHECK(predict_rows(flat, flat.leftCols(5) * gaussian(5, 5, 4), 100, 10).r2 > 1 - 1e-9);
}
