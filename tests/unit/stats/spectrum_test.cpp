// SPDX-License-Identifier: MIT
#include "kvviz/stats/spectrum.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "support/close.hpp"

using namespace kvviz::stats;
using kvviz::test::check_close;
using kvviz::test::Tol;

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix gaussian(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  return Matrix::NullaryExpr(rows, cols, [&] { return normal(random); });
}

/// A random rotation (QR of Gaussian elements), fp64.
Eigen::MatrixXd rotation(int64_t n, unsigned seed) {
  return Eigen::HouseholderQR<Eigen::MatrixXd>(gaussian(n, n, seed).cast<double>()).householderQ();
}

MatrixView view(const Matrix& x) {
  return {x.data(), x.rows(), x.cols()};
}

std::vector<double> spectrum(const Matrix& x, bool center) {
  return energies(gram(view(x), center ? column_means(view(x)) : std::vector<double>{}));
}

Cka cka_of(const Matrix& x, const Matrix& y) {
  const auto mx = column_means(view(x)), my = column_means(view(y));
  return cka(gram(view(x), mx), gram(view(y), my), cross_energy(view(x), mx, view(y), my), x.rows());
}

/// Squared singular values of the centred matrix by a Jacobi SVD in fp64.
std::vector<double> svd_energies(const Matrix& x) {
  Eigen::MatrixXd wide = x.cast<double>();
  wide.rowwise() -= wide.colwise().mean().eval();
  const Eigen::VectorXd s = Eigen::JacobiSVD<Eigen::MatrixXd>(wide).singularValues();
  std::vector<double> squares;
  for (const double value : s) squares.push_back(value * value);
  return squares;
}

/// Linear CKA from the definition: Gram matrices over the rows, centred on both sides.
double naive_cka(const Matrix& x, const Matrix& y) {
  const auto n = x.rows();
  const Eigen::MatrixXd h =
      Eigen::MatrixXd::Identity(n, n) - Eigen::MatrixXd::Constant(n, n, 1.0 / static_cast<double>(n));
  const Eigen::MatrixXd k = h * x.cast<double>() * x.cast<double>().transpose() * h;
  const Eigen::MatrixXd l = h * y.cast<double>() * y.cast<double>().transpose() * h;
  return k.cwiseProduct(l).sum() / (k.norm() * l.norm());
}

const SerialBlas serial;

}  // namespace

TEST_CASE("[spectrum] energies are the squares of the singular values, for tall and wide matrices") {
  for (const auto& [rows, cols] :
       {std::pair{300, 12}, std::pair{7, 40}, std::pair{16, 16}, std::pair{1, 5}, std::pair{5, 1}}) {
    const Matrix x = gaussian(rows, cols, 1);
    const std::vector<double> got = spectrum(x, true), want = svd_energies(x);
    REQUIRE(got.size() == static_cast<size_t>(std::min(rows, cols)));
    // The Gram matrix squares the condition: absolute error eps x the largest energy.
    const double largest = std::max(want.front(), 1e-30);
    for (size_t i = 0; i < got.size(); ++i) CHECK(std::fabs(got[i] - want[i]) <= 1e-12 * largest);
  }
}

TEST_CASE("[spectrum] a diagonal without centring") {
  Matrix x = Matrix::Zero(6, 3);
  x(0, 0) = 3;
  x(1, 1) = -2;
  x(2, 2) = 1;
  const std::vector<double> e = spectrum(x, false);
  check_close(e, std::vector<double>{9, 4, 1}, Tol{.abs = 1e-14});
  const double sum = 6;  // singular values 3, 2, 1
  const double entropy =
      -(3 / sum * std::log(3 / sum) + 2 / sum * std::log(2 / sum) + 1 / sum * std::log(1 / sum));
  check_close(effective_rank(e), std::exp(entropy), Tol{.abs = 1e-12});
  check_close(stable_rank(e), 14.0 / 9, Tol{.abs = 1e-14});
  CHECK(components(e) == std::array<int64_t, 3>{2, 3, 3});  // 9/14 = .64, 13/14 = .93
}

TEST_CASE("[spectrum] rank-1 keys have effective rank 1, equal energies the full rank") {
  const Matrix rank_one = gaussian(50, 1, 2) * gaussian(1, 20, 3);
  // Products in f32 are rounded: the rest has 1e-7 of the singular value in each of 19 directions.
  check_close(effective_rank(spectrum(rank_one, false)), 1, Tol{.abs = 1e-4});
  // Products of small integers are exact: what is left of the other energies is rounding of the eigenvalues
  // alone.
  const Matrix integers = Eigen::VectorXf::LinSpaced(40, -19, 20) * Eigen::RowVectorXf::LinSpaced(20, 1, 20);
  check_close(effective_rank(spectrum(integers, false)), 1, Tol{.abs = 1e-12});
  Matrix exact = Matrix::Zero(8, 4);
  exact.col(1).setConstant(3);
  CHECK(effective_rank(spectrum(exact, false)) == 1);
  CHECK(stable_rank(spectrum(exact, false)) == 1);
  const Matrix identity = Matrix::Identity(5, 5);
  check_close(effective_rank(spectrum(identity, false)), 5, Tol{.abs = 1e-12});
  check_close(stable_rank(spectrum(identity, false)), 5, Tol{.abs = 1e-12});
  CHECK(components(spectrum(identity, false)) == std::array<int64_t, 3>{5, 5, 5});
  CHECK(components(std::vector<double>(10, 2.0)) == std::array<int64_t, 3>{9, 10, 10});
}

TEST_CASE("[spectrum] scale and rotation change no rank") {
  const Matrix x = gaussian(100, 10, 4) * Eigen::VectorXf::LinSpaced(10, 0.1F, 3).asDiagonal();
  const Matrix scaled = x * 8;
  const Matrix turned = (x.cast<double>() * rotation(10, 5)).cast<float>();
  const double rank = effective_rank(spectrum(x, true));
  CHECK(effective_rank(spectrum(scaled, true)) == doctest::Approx(rank).epsilon(1e-13));
  check_close(effective_rank(spectrum(turned, true)), rank, Tol{.rel = 1e-5});  // the turned elements are f32
  CHECK(rank > 1);
  CHECK(rank < 10);
}

TEST_CASE("[spectrum] what is constant over the tokens has no centred spectrum") {
  Matrix x(37, 6);
  for (int64_t c = 0; c < 6; ++c) x.col(c).setConstant(0.1F * static_cast<float>(c + 1));
  CHECK(std::isnan(effective_rank(spectrum(x, true))));
  CHECK(std::isnan(stable_rank(spectrum(x, true))));
  CHECK(components(spectrum(x, true)) == std::array<int64_t, 3>{0, 0, 0});
  CHECK(effective_rank(spectrum(x, false)) == doctest::Approx(1));
  CHECK(std::isnan(cka_of(x, gaussian(37, 6, 6)).value));
  CHECK(std::isnan(effective_rank(spectrum(gaussian(1, 6, 7), true))));
  // One bit of one element is a variation.
  x(5, 2) = std::nextafter(x(5, 2), 1.0F);
  CHECK(effective_rank(spectrum(x, true)) == doctest::Approx(1));
}

TEST_CASE("[spectrum] CKA equals its definition over the rows") {
  for (const auto& [rows, cols] : {std::pair{200, 9}, std::pair{6, 20}}) {
    const Matrix x = gaussian(rows, cols, 8);
    const Matrix y = x.leftCols(5) * gaussian(5, 11, 9) + gaussian(rows, 11, 10);
    check_close(cka_of(x, y).value, naive_cka(x, y), Tol{.abs = 1e-12});
  }
}

TEST_CASE("[spectrum] CKA is 1 for the same geometry, 0 for orthogonal rows") {
  const Matrix x = gaussian(64, 8, 11);
  const Matrix same = (x.cast<double>() * rotation(8, 12) * -3).cast<float>();
  check_close(cka_of(x, x).value, 1, Tol{.abs = 1e-14});
  check_close(cka_of(x, x).excess, 1, Tol{.abs = 1e-14});
  check_close(cka_of(x, same).value, 1, Tol{.abs = 1e-6});  // the turned elements are f32
  Matrix a = Matrix::Zero(4, 1), b = Matrix::Zero(4, 1);
  a << 1, -1, 1, -1;
  b << 1, 1, -1, -1;
  CHECK(cka_of(a, b).value == 0);
}

TEST_CASE("[spectrum] the chance level is the mean over all pairings of the rows") {
  const Matrix x = gaussian(6, 3, 13), y = gaussian(6, 2, 14);
  std::vector<int> order{0, 1, 2, 3, 4, 5};
  double sum = 0;
  int count = 0;
  do {
    Matrix shuffled(6, 2);
    for (int i = 0; i < 6; ++i) shuffled.row(i) = y.row(order[i]);
    sum += naive_cka(x, shuffled);
    ++count;
  } while (std::next_permutation(order.begin(), order.end()));
  CHECK(count == 720);
  check_close(cka_of(x, y).chance, sum / count, Tol{.abs = 1e-12});
}

TEST_CASE("[spectrum] unrelated noise: CKA looks large, its excess is null") {
  double excess = 0;
  for (unsigned seed = 0; seed < 20; ++seed) {
    const Cka c = cka_of(gaussian(64, 32, 100 + seed), gaussian(64, 32, 200 + seed));
    CHECK(c.value > 0.2);               // the bias that the chance level takes away
    CHECK(std::fabs(c.excess) < 0.12);  // one pair spreads by 0.03
    excess += c.excess / 20;
  }
  CHECK(std::fabs(excess) < 0.005);
}
