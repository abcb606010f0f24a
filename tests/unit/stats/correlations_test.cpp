// SPDX-License-Identifier: MIT
#include "kvviz/stats/correlations.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

using namespace kvviz::stats;

namespace {

double pearson(const std::vector<float>& x, int64_t rows, int64_t cols, int64_t i, int64_t j) {
  long double mi = 0, mj = 0, a = 0, b = 0, ab = 0;
  for (int64_t r = 0; r < rows; ++r) mi += x[r * cols + i], mj += x[r * cols + j];
  mi /= rows, mj /= rows;
  for (int64_t r = 0; r < rows; ++r) {
    const long double u = x[r * cols + i] - mi, v = x[r * cols + j] - mj;
    a += u * u, b += v * v, ab += u * v;
  }
  return static_cast<double>(ab / std::sqrt(a * b));
}

}  // namespace

TEST_CASE("[correlations] signed, as the definition has it, far from 0 too") {
  constexpr int64_t rows = 150, cols = 9;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(rows * cols);
  for (float& value : x) value = normal(random);
  for (int64_t r = 0; r < rows; ++r) {
    x[r * cols + 3] = 1000 - 2 * x[r * cols + 1];  // r = -1
    x[r * cols + 4] = x[r * cols + 0] + 0.5F * x[r * cols + 2];
    x[r * cols + 7] = 0.1F;  // constant
  }
  const auto r = correlations({x.data(), rows, cols});
  for (int64_t i = 0; i < cols; ++i)
    for (int64_t j = 0; j < cols; ++j) {
      const double got = r[i * cols + j];
      if (i == 7 || j == 7)
        CHECK(std::isnan(got));
      else
        CHECK(got == doctest::Approx(pearson(x, rows, cols, i, j)).epsilon(1e-9));
    }
  CHECK(r[1 * cols + 3] == doctest::Approx(-1).epsilon(1e-6));
}

TEST_CASE("[correlations] products of rows are added up, upper triangle") {
  const std::vector<float> x{1, 2, 3, 4, 5, 6};
  std::vector<double> sum{1, 0, 0, 1};
  add_row_products({x.data(), 2, 3}, sum);
  CHECK(sum == std::vector<double>{1 + 14, 32, 0, 1 + 77});
}
