// SPDX-License-Identifier: MIT
#include "kvviz/stats/magnitude.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kvviz/core/error.hpp"
#include "support/close.hpp"

using namespace kvviz::stats;
using kvviz::test::check_close;
using kvviz::test::Tol;

namespace {

std::vector<float> heavy_tailed(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<float> x(n);
  for (float& value : x) value = static_cast<float>(normal(random) * std::exp(2 * normal(random)));
  return x;
}

std::vector<double> sorted_magnitudes(const std::vector<float>& x) {
  std::vector<double> magnitudes;
  for (const float value : x) magnitudes.push_back(std::fabs(static_cast<double>(value)));
  std::ranges::sort(magnitudes);
  return magnitudes;
}

}  // namespace

TEST_CASE("[magnitude] order statistics equal those of a sort") {
  std::vector<float> x = heavy_tailed(5003, 1);
  x[10] = 0;
  x[11] = -0.0F;
  x[12] = 1e-40F;  // subnormal
  for (size_t i = 100; i < 400; ++i) x[i] = -0.75F;
  const std::vector<double> sorted = sorted_magnitudes(x);
  std::vector<int64_t> positions{0, 1, 2, 3, 17, 1250, 2501, 2502, 2600, 4000, 5001, 5002};
  const std::vector<double> got = magnitude_order(x, positions);
  for (size_t i = 0; i < positions.size(); ++i) CHECK(got[i] == sorted[positions[i]]);
  CHECK(magnitude_order(std::vector<float>{-3}, std::vector<int64_t>{0}) == std::vector<double>{3});
  CHECK_THROWS_AS(magnitude_order(x, std::vector<int64_t>{5003}), kvviz::DataError);
}

TEST_CASE("[magnitude] energy of the largest elements") {
  const std::vector<float> ten{1, 1, 1, 1, 1, 1, 1, 1, 1, -3};
  check_close(top_energy(ten, std::vector{0.1, 0.2, 1.0}), std::vector{0.5, 10.0 / 18, 1.0},
              Tol{.abs = 1e-15});
  // 1 % of 10 elements is 1 element.
  check_close(top_energy(ten, std::vector{0.01}), std::vector{0.5}, Tol{.abs = 1e-15});
  CHECK(top_energy(std::vector<float>(7, 0.0F), std::vector{0.1}) == std::vector{1.0});
  CHECK(top_energy(std::vector<float>(100, -2.0F), std::vector{0.05})[0] == doctest::Approx(0.05));

  const std::vector<float> x = heavy_tailed(4321, 2);
  std::vector<double> sorted = sorted_magnitudes(x);
  std::ranges::reverse(sorted);
  const double total = std::inner_product(sorted.begin(), sorted.end(), sorted.begin(), 0.0);
  for (const double fraction : {0.01, 0.05, 0.1, 0.5}) {
    const auto count = static_cast<std::ptrdiff_t>(std::ceil(fraction * 4321));
    const double top = std::inner_product(sorted.begin(), sorted.begin() + count, sorted.begin(), 0.0);
    check_close(top_energy(x, std::vector{fraction})[0], top / total, Tol{.rel = 1e-12});
  }
}

TEST_CASE("[magnitude] Gini index: closed forms, and the mean difference of all pairs") {
  CHECK(gini(std::vector<float>{-2, 2, 2, -2}) == 0);
  CHECK(gini(std::vector<float>{0, 0, -7, 0}) == 0.75);
  CHECK(gini(std::vector<float>{1, -3}) == 0.25);
  CHECK(gini(std::vector<float>{5}) == 0);
  CHECK(gini(std::vector<float>(3, 0.0F)) == 1);
  CHECK_THROWS_AS(gini(std::vector<float>{}), kvviz::DataError);

  std::vector<float> x = heavy_tailed(700, 5);
  x[3] = 0;
  x[4] = 1e-40F;  // subnormal
  x[5] = std::numeric_limits<float>::max() / 1e6F;
  double differences = 0, sum = 0;
  const std::vector<double> magnitudes = sorted_magnitudes(x);
  for (const double a : magnitudes) {
    sum += a;
    for (const double b : magnitudes) differences += std::fabs(a - b);
  }
  check_close(gini(x), differences / (2 * 700 * sum), Tol{.rel = 1e-12});

  std::vector<float> bell(200'000);
  std::mt19937 random(6);
  std::normal_distribution<float> normal;
  for (float& value : bell) value = normal(random);
  CHECK(gini(bell) == doctest::Approx(std::sqrt(2.0) - 1).epsilon(0.005));
}

TEST_CASE("[magnitude] logarithmic bins hold their left edge") {
  const LogBins bins(0.011, 100, 1);
  CHECK(bins.log10_edges() == std::vector<double>{-2, -1, 0, 1, 2, 3});
  std::vector<int64_t> counts(5, 0);
  // 0.1F is above 0.1 by rounding; 1, 10 and 100 are exact.
  const std::vector<float> x{0.011F, -0.05F, 0.1F, 0.99999F, 1, -9.9F, 10, 99, 100, 0, -0.0F, 0.099F};
  CHECK(bins.count(x, counts) == 2);
  CHECK(counts == std::vector<int64_t>{3, 2, 2, 2, 1});
}

TEST_CASE("[magnitude] logarithmic bins agree with logarithms") {
  std::vector<float> x = heavy_tailed(20'000, 3);
  const std::vector<double> sorted = sorted_magnitudes(x);
  for (const int64_t per_decade : {1, 3, 10, 20}) {
    const LogBins bins(sorted.front(), sorted.back(), per_decade);
    const std::vector<double> edges = bins.log10_edges();
    CHECK(edges.front() <= std::log10(sorted.front()));
    CHECK(edges.back() > std::log10(sorted.back()));
    CHECK(edges[1] > std::log10(sorted.front()));
    std::vector<int64_t> counts(bins.bins(), 0), want(bins.bins(), 0);
    CHECK(bins.count(x, counts) == 0);
    for (const double magnitude : sorted) {
      ++want[static_cast<size_t>(std::ranges::upper_bound(edges, std::log10(magnitude)) - edges.begin() - 1)];
    }
    CHECK(counts == want);
  }
}

TEST_CASE("[magnitude] logarithmic bins at the ends of the float range") {
  const std::vector<float> x{std::numeric_limits<float>::denorm_min(), 3e-42F, 2e-39F, 1.0F,
                             std::numeric_limits<float>::max()};
  const LogBins bins(static_cast<double>(x.front()), static_cast<double>(x.back()), 1);
  const std::vector<double> edges = bins.log10_edges();
  CHECK(edges.front() == -45);
  CHECK(edges.back() == 39);
  std::vector<int64_t> counts(bins.bins(), 0), want(bins.bins(), 0);
  CHECK(bins.count(x, counts) == 0);
  for (const int64_t decade : {-45, -42, -39, 0, 38}) ++want[decade + 45];
  CHECK(counts == want);
  CHECK_THROWS_AS(LogBins(0, 1, 10), kvviz::DataError);
  CHECK_THROWS_AS(LogBins(1, 2, 21), kvviz::DataError);
}

TEST_CASE("[magnitude] linear bins: inner edges to the right, the last edge inside") {
  const LinearBins bins{.least = 0, .most = 4, .bins = 4};
  std::vector<int64_t> counts(4, 0);
  bins.count(std::vector<float>{0, 1, -1, 1.5F, 2, 3.999F, 4, -4}, counts);
  CHECK(counts == std::vector<int64_t>{1, 3, 1, 3});
  CHECK(bins.edge(0) == 0);
  CHECK(bins.edge(3) == 3);
  CHECK(bins.edge(4) == 4);
  std::vector<int64_t> same(3, 0);
  LinearBins{.least = 2, .most = 2, .bins = 3}.count(std::vector<float>{2, -2}, same);
  CHECK(same == std::vector<int64_t>{0, 2, 0});
}

TEST_CASE("[magnitude] linear bins agree with a search among the edges") {
  const std::vector<float> x = heavy_tailed(7001, 4);
  const std::vector<double> sorted = sorted_magnitudes(x);
  const LinearBins bins{.least = sorted.front(), .most = sorted.back(), .bins = 50};
  std::vector<int64_t> counts(50, 0), want(50, 0);
  bins.count(x, counts);
  for (const double magnitude : sorted) {
    int64_t bin = 0;
    while (bin < 49 && magnitude >= bins.edge(bin + 1)) ++bin;
    ++want[bin];
  }
  CHECK(counts == want);
}
