// SPDX-License-Identifier: MIT
#include "kvviz/stats/tucker.hpp"

#include <Eigen/Dense>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "kvviz/core/error.hpp"
#include "kvviz/stats/blas.hpp"
#include "support/close.hpp"

using namespace kvviz;
using namespace kvviz::stats;
using kvviz::test::check_close;
using kvviz::test::Tol;

namespace {

using Matrix = Eigen::MatrixXd;

struct Cube {
  std::array<int64_t, 3> shape{};
  std::vector<float> values;
  TensorView view() const { return {values.data(), shape[0], shape[1], shape[2]}; }
};

template <class Element>
Cube cube(std::array<int64_t, 3> shape, Element&& element) {
  Cube x{shape, {}};
  for (int64_t h = 0; h < shape[0]; ++h) {
    for (int64_t t = 0; t < shape[1]; ++t) {
      for (int64_t c = 0; c < shape[2]; ++c) x.values.push_back(static_cast<float>(element(h, t, c)));
    }
  }
  return x;
}

Cube gaussian(std::array<int64_t, 3> shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  return cube(shape, [&](auto...) { return normal(random); });
}

Matrix gaussian_matrix(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  return Matrix::NullaryExpr(rows, cols, [&] { return normal(random); });
}

/// sum over i, j, k of g[i, j, k] a(h, i) b(t, j) c(d, k): a tensor of exact multilinear rank.
Cube of_rank(std::array<int64_t, 3> shape, std::array<int64_t, 3> rank, unsigned seed) {
  const Cube g = gaussian(rank, seed);
  const Matrix a = gaussian_matrix(shape[0], rank[0], seed + 1),
               b = gaussian_matrix(shape[1], rank[1], seed + 2),
               c = gaussian_matrix(shape[2], rank[2], seed + 3);
  return cube(shape, [&](int64_t h, int64_t t, int64_t d) {
    double sum = 0;
    size_t n = 0;
    for (int64_t i = 0; i < rank[0]; ++i) {
      for (int64_t j = 0; j < rank[1]; ++j) {
        for (int64_t k = 0; k < rank[2]; ++k) sum += double{g.values[n++]} * a(h, i) * b(t, j) * c(d, k);
      }
    }
    return sum;
  });
}

/// The unfolding along a mode, written out element by element.
Matrix unfolding(const Cube& x, int mode) {
  const auto [heads, tokens, channels] = x.shape;
  Matrix m(x.shape[mode], heads * tokens * channels / x.shape[mode]);
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t c = 0; c < channels; ++c) {
        const double value = x.values[(h * tokens + t) * channels + c];
        if (mode == 0) m(h, t * channels + c) = value;
        if (mode == 1) m(t, h * channels + c) = value;
        if (mode == 2) m(c, h * tokens + t) = value;
      }
    }
  }
  return m;
}

double relative_residual(const Cube& x, const std::vector<float>& got) {
  REQUIRE(got.size() == x.values.size());
  double difference = 0, total = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(double{got[i]} - double{x.values[i]}, 2);
    total += std::pow(double{x.values[i]}, 2);
  }
  return std::sqrt(difference / total);
}

/// HOSVD from its definition: a projector of Jacobi singular vectors along each mode.
double hosvd_error(const Cube& x, std::array<int64_t, 3> ranks) {
  Cube y = x;
  std::vector<double> values(x.values.begin(), x.values.end());
  for (int mode = 0; mode < 3; ++mode) {
    const Eigen::JacobiSVD<Matrix> svd(unfolding(x, mode), Eigen::ComputeThinU);
    const Matrix u = svd.matrixU().leftCols(ranks[mode]);
    const Matrix p = u * u.transpose();
    const auto [heads, tokens, channels] = x.shape;
    const std::array<int64_t, 3> stride{tokens * channels, channels, 1};
    std::vector<double> projected(values.size());
    for (int64_t i = 0; i < std::ssize(values); ++i) {
      const int64_t at = i / stride[mode] % x.shape[mode], base = i - at * stride[mode];
      for (int64_t j = 0; j < x.shape[mode]; ++j) projected[i] += p(at, j) * values[base + j * stride[mode]];
    }
    values = projected;
  }
  double difference = 0, total = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    difference += std::pow(values[i] - double{x.values[i]}, 2);
    total += std::pow(double{x.values[i]}, 2);
  }
  return std::sqrt(difference / total);
}

double error_at(const Cube& x, const Ranks& ranks) {
  return tucker(x.view(), {.ranks = ranks}).error;
}

Matrix factor(const Tucker& t, int mode) {
  const std::array<int64_t, 3> sizes{t.heads, t.tokens, t.channels},
      ranks{t.ranks.heads, t.ranks.tokens, t.ranks.channels};
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  REQUIRE(std::ssize(t.factors[mode]) == sizes[mode] * ranks[mode]);
  return Eigen::Map<const RowMajor>(t.factors[mode].data(), sizes[mode], ranks[mode]).cast<double>();
}

const SerialBlas serial;

}  // namespace

TEST_CASE("[tucker] a tensor of exact multilinear rank is recovered at these ranks and no fewer") {
  const Cube x = of_rank({4, 60, 24}, {2, 5, 3}, 1);
  const Tucker t = tucker(x.view(), {.ranks = {2, 5, 3}});
  CHECK(t.error < 1e-6);  // f32 factors
  CHECK(relative_residual(x, reconstruct(t)) < 1e-6);
  CHECK(error_at(x, {3, 6, 4}) < 1e-6);
  CHECK(error_at(x, {1, 5, 3}) > 0.01);
  CHECK(error_at(x, {2, 4, 3}) > 0.01);
  CHECK(error_at(x, {2, 5, 2}) > 0.01);
}

TEST_CASE("[tucker] full ranks give the tensor back, as an expansion") {
  for (const auto& shape : {std::array<int64_t, 3>{3, 20, 8}, {2, 5, 16}, {1, 1, 1}, {1, 40, 6}, {5, 1, 7}}) {
    const Cube x = gaussian(shape, 2);
    const Tucker t = tucker(x.view(), {.ranks = {shape[0], shape[1], shape[2]}});
    CHECK(t.error < 1e-6);
    CHECK(relative_residual(x, reconstruct(t)) < 1e-6);
    CHECK(t.sweeps == 0);
  }
  const Cube x = gaussian({3, 20, 8}, 2);
  CHECK(stored_elements({3, 20, 8}, x.view()) == 480 + 9 + 400 + 64);
  CHECK(stored_elements({3, 20, 8}, x.view()) > x.view().elements());
}

TEST_CASE(
    "[tucker] factors are orthonormal, the error is that of the reconstruction, and follows from the core") {
  for (const Ranks& ranks : {Ranks{2, 6, 5}, Ranks{4, 10, 3}, Ranks{1, 4, 4}, Ranks{3, 30, 12}}) {
    const Cube x = gaussian({4, 30, 12}, 3);
    const Tucker t = tucker(x.view(), {.ranks = ranks});
    for (int mode = 0; mode < 3; ++mode) {
      const Matrix u = factor(t, mode), products = u.transpose() * u;
      CHECK((products - Matrix::Identity(u.cols(), u.cols())).cwiseAbs().maxCoeff() < 1e-6);
    }
    check_close(t.error, relative_residual(x, reconstruct(t)), Tol{.abs = 1e-6});
    double core = 0, total = 0;
    for (const float value : t.core) core += double{value} * double{value};
    for (const float value : x.values) total += double{value} * double{value};
    check_close(t.error * t.error, 1 - core / total, Tol{.abs = 1e-6});
  }
}

TEST_CASE("[tucker] one truncated mode: the error is the energy of the singular values left out") {
  const Cube x = gaussian({3, 25, 10}, 4);
  for (int mode = 0; mode < 3; ++mode) {
    const Eigen::VectorXd s = Eigen::JacobiSVD<Matrix>(unfolding(x, mode)).singularValues();
    for (int64_t rank = 1; rank < x.shape[mode]; ++rank) {
      std::array<int64_t, 3> r = x.shape;
      r[mode] = rank;
      const double want = std::sqrt(s.tail(s.size() - rank).squaredNorm() / s.squaredNorm());
      // Where useful() cuts another mode too, sweeps lead there.
      const TuckerOptions options{.ranks = {r[0], r[1], r[2]}, .tolerance = 1e-9};
      check_close(tucker(x.view(), options).error, want, Tol{.abs = 1e-6});
    }
  }
}

TEST_CASE("[tucker] sweeps never raise the error, and HOOI is at most HOSVD") {
  for (unsigned seed = 0; seed < 5; ++seed) {
    const Cube x = gaussian({4, 30, 12}, 10 + seed);
    double last = 2;
    for (const int sweeps : {0, 1, 2, 4, 8, 16}) {
      const Tucker t = tucker(x.view(), {.ranks = {2, 5, 4}, .max_sweeps = sweeps, .tolerance = 0});
      CHECK(t.sweeps == sweeps);
      CHECK(t.error <= last + 1e-7);
      last = t.error;
    }
    CHECK(last < hosvd_error(x, {2, 5, 4}));
  }
}

TEST_CASE("[tucker] the error never rises with a rank") {
  const Cube x = gaussian({3, 24, 8}, 5);
  for (int64_t r = 1; r < 8; ++r) {
    CHECK(error_at(x, {3, 8, r + 1}) <= error_at(x, {3, 8, r}) + 1e-6);
    CHECK(error_at(x, {3, r + 1, 8}) <= error_at(x, {3, r, 8}) + 1e-6);
  }
  CHECK(error_at(x, {2, 8, 4}) <= error_at(x, {1, 8, 4}) + 1e-6);
}

TEST_CASE("[tucker] noise: no more energy is kept than numbers are stored, but for what the fit finds") {
  const Cube x = gaussian({4, 64, 32}, 6);
  const Ranks ranks{2, 16, 8};
  const double kept = 1 - std::pow(error_at(x, ranks), 2);
  const double stored = static_cast<double>(stored_elements(ranks, x.view())) / (4 * 64 * 32);
  CHECK(kept > 2 * 16 * 8.0 / (4 * 64 * 32));  // what directions drawn blindly keep
  CHECK(kept < 1.5 * stored);
}

TEST_CASE("[tucker] ranks are cut to what has a use") {
  const Cube x = gaussian({2, 30, 8}, 7);
  CHECK(useful({99, 99, 99}, x.view()) == Ranks{2, 16, 8});
  CHECK(useful({1, 4, 3}, x.view()) == Ranks{1, 3, 3});
  CHECK(useful({2, 1, 8}, x.view()) == Ranks{2, 1, 2});
  CHECK(useful({2, 5, 4}, x.view()) == Ranks{2, 5, 4});
  CHECK(tucker(x.view(), {.ranks = {99, 99, 99}}).ranks == Ranks{2, 16, 8});
  CHECK_THROWS_WITH_AS(tucker(x.view(), {.ranks = {2, 0, 4}}),
                       "[tucker] got ranks 2:0:4 (heads, tokens, channels); expected 1 or more of each",
                       UsageError);
}

TEST_CASE("[tucker] zeros, scale, and what is not finite") {
  const Cube zero = cube({2, 9, 4}, [](auto...) { return 0.0; });
  const Tucker t = tucker(zero.view(), {.ranks = {1, 2, 2}});
  CHECK(t.error == 0);
  CHECK(reconstruct(t) == zero.values);
  CHECK(rank_errors(zero.view()).error({1, 1, 1}) == 0);
  Cube x = gaussian({3, 20, 8}, 8);
  const double error = error_at(x, {2, 6, 3});
  for (float& value : x.values) value *= 1024;
  CHECK(error_at(x, {2, 6, 3}) == error);
  x.values[17] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(tucker(x.view(), {.ranks = {2, 6, 3}}), DataError);
  CHECK_THROWS_AS(rank_errors(x.view()), DataError);
}

TEST_CASE("[tucker] all HOSVD errors at once equal those of the definition") {
  for (const auto& shape :
       {std::array<int64_t, 3>{3, 14, 4}, {3, 7, 5}, {1, 6, 9}}) {  // tall, wide, one head
    const Cube x = gaussian(shape, 9);
    const RankErrors errors = rank_errors(x.view());
    for (const auto& r : {std::array<int64_t, 3>{1, 1, 1}, {1, 3, 2}, {2, 5, 3}, {3, 2, 4}, {1, 6, 1}}) {
      const std::array<int64_t, 3> ranks{std::min(r[0], shape[0]), r[1], r[2]};
      check_close(errors.error({ranks[0], ranks[1], ranks[2]}), hosvd_error(x, ranks), Tol{.abs = 1e-9});
    }
    CHECK(errors.error({99, 99, 99}) < 1e-7);
    CHECK_THROWS_AS(errors.error({1, 0, 1}), UsageError);
  }
}

TEST_CASE("[tucker] the best ranks within a size are those of an exhaustive search") {
  const Cube x = of_rank({3, 14, 6}, {2, 6, 4}, 12);
  const RankErrors errors = rank_errors(x.view());
  for (const int64_t elements : {40, 80, 120, 160, 252}) {
    double least = 2;
    for (int64_t h = 1; h <= 3; ++h) {
      for (int64_t t = 1; t <= 14; ++t) {
        for (int64_t c = 1; c <= 6; ++c) {
          if (stored_elements({h, t, c}, x.view()) <= elements)
            least = std::min(least, errors.error({h, t, c}));
        }
      }
    }
    const Ranks best = errors.best_within(elements, x.view());
    CHECK(stored_elements(best, x.view()) <= elements);
    check_close(errors.error(best), least, Tol{.abs = 1e-12});
  }
  CHECK(errors.best_within(3, x.view()) == Ranks{1, 1, 1});
}

TEST_CASE("[tucker] TensorLy") {
  std::ifstream in(std::filesystem::path(KVVIZ_FIXTURES) / "tucker/expected.json");
  const nlohmann::json cases = nlohmann::json::parse(in).at("cases");
  REQUIRE(cases.size() == 8);
  for (const auto& want : cases) {
    CAPTURE(want.at("data"));
    CAPTURE(want.at("shape"));
    const auto shape = want.at("shape").get<std::array<int64_t, 3>>();
    const auto r = want.at("ranks").get<std::array<int64_t, 3>>();
    const bool waves = want.at("data") == "waves";
    const Cube x = cube(shape, [&](int64_t h, int64_t t, int64_t c) {
      const auto n = static_cast<uint64_t>((h * shape[1] + t) * shape[2] + c);
      const double noise = static_cast<double>(n * 2654435761U % 1009) / 1009 - 0.5;
      double sum = waves ? 0.1 * noise : noise;
      for (int k = 0; waves && k < 3; ++k) {
        sum += std::sin(0.7 * (k + 1) * static_cast<double>(h) + 0.3 * k) *
               std::cos(0.05 * (k + 1) * static_cast<double>(t)) *
               std::sin(0.2 * (k + 1) * static_cast<double>(c) + k) / (k + 1);
      }
      return sum;
    });
    const Ranks ranks{r[0], r[1], r[2]};
    // The sweeps start elsewhere (sequential truncation), so that before convergence errors differ by less
    // than the tolerance of the stopping rule; after it by what f32 leaves.
    const Tucker t = tucker(x.view(), {.ranks = ranks});
    check_close(t.error, want.at("hooi").get<double>(), Tol{.abs = 1e-4});
    const Tucker converged = tucker(x.view(), {.ranks = ranks, .max_sweeps = 2000, .tolerance = 1e-12});
    check_close(converged.error, want.at("converged").get<double>(), Tol{.abs = 2e-6});
    const RankErrors errors = rank_errors(x.view());
    check_close(errors.error(ranks), want.at("hosvd").get<double>(), Tol{.abs = 1e-6});  // the input is f32
    const auto energies = want.at("energies").get<std::vector<std::vector<double>>>();
    const double largest = energies[0][0];
    check_close(errors.heads(), energies[0], Tol{.abs = 1e-6 * largest});
    check_close(errors.tokens(), energies[1], Tol{.abs = 1e-6 * largest});
    check_close(errors.channels(), energies[2], Tol{.abs = 1e-6 * largest});
  }
}
