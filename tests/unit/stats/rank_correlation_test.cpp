// SPDX-License-Identifier: MIT
#include "kvviz/stats/rank_correlation.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include "kvviz/core/error.hpp"
#include "support/close.hpp"

using namespace kvviz;
using namespace kvviz::stats;

namespace {

using Columns = std::vector<std::vector<double>>;

/// Ranks by counting: 1 + those below + half of the others that are equal.
std::vector<double> counted_ranks(const std::vector<double>& x) {
  std::vector<double> ranks;
  for (const double one : x) {
    double below = 0, equal = 0;
    for (const double other : x) below += other < one ? 1 : 0, equal += other == one ? 1 : 0;
    ranks.push_back(1 + below + (equal - 1) / 2);
  }
  return ranks;
}

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    sx += x[i], sy += y[i];
    sxx += x[i] * x[i], syy += y[i] * y[i], sxy += x[i] * y[i];
  }
  return (n * sxy - sx * sy) / std::sqrt((n * sxx - sx * sx) * (n * syy - sy * sy));
}

std::vector<double> wave(size_t n, double step, int levels) {
  std::vector<double> x;
  for (size_t i = 0; i < n; ++i)
    x.push_back(std::floor(levels * std::sin(step * static_cast<double>(i) + 0.3)));
  return x;
}

}  // namespace

TEST_CASE("[rank_correlation] mean ranks of equals") {
  CHECK(mean_ranks(std::vector<double>{30, 10, 20, 10}) == std::vector<double>{4, 1.5, 3, 1.5});
  CHECK(mean_ranks(std::vector<double>{2, 2, 2}) == std::vector<double>{2, 2, 2});
  CHECK(mean_ranks(std::vector<double>{}).empty());
}

TEST_CASE("[rank_correlation] closed forms: the same order, the opposite one, four pairs by hand") {
  const std::vector<double> x{1, 2, 3, 4}, cubes{1, 8, 27, 64}, falling{0, -5, -7, -90};
  CHECK(rank_correlation(x, cubes).rho == doctest::Approx(1));
  CHECK(rank_correlation(x, falling).rho == doctest::Approx(-1));
  // 1 - 6 sum d^2 / (n (n^2 - 1)) = 1 - 6 * 2 / 60; of the 24 pairings 8 have |rho| >= 0.8.
  const RankCorrelation swapped = rank_correlation(x, std::vector<double>{2, 1, 3, 4});
  CHECK(swapped.pairs == 4);
  CHECK(swapped.rho == doctest::Approx(0.8));
  CHECK(swapped.p_value == doctest::Approx(8.0 / 24));
  CHECK(rank_correlation(x, cubes).p_value == doctest::Approx(2.0 / 24));
}

TEST_CASE("[rank_correlation] with ties: Pearson's correlation of ranks that are counted") {
  for (const int levels : {2, 3, 5, 40}) {
    const auto x = wave(50, 0.7, levels), y = wave(50, 1.9, 4);
    CAPTURE(levels);
    test::check_close(rank_correlation(x, y).rho, pearson(counted_ranks(x), counted_ranks(y)),
                      {.abs = 1e-12});
  }
}

TEST_CASE("[rank_correlation] p-values: small for what is ordered, even for what is not, exact when few") {
  std::vector<double> order(60), noise(60);
  for (size_t i = 0; i < 60; ++i) {
    order[i] = static_cast<double>(i);
    noise[i] = std::sin(static_cast<double>(i * i) * 12.9898) * 43758.5453;
    noise[i] -= std::floor(noise[i]);
  }
  CHECK(rank_correlation(order, order).p_value == doctest::Approx(1.0 / 10001));
  CHECK(rank_correlation(order, noise).p_value > 0.05);
  // Seven pairs have 5040 pairings: drawing 5000 of them comes close to all of them.
  const std::vector<double> x{1, 2, 3, 4, 5, 6, 7}, y{2, 1, 4, 3, 7, 5, 6};
  const double exact = rank_correlation(x, y).p_value;
  const double drawn = rank_correlation(x, y, {.permutations = 5000}).p_value;
  CHECK(exact != drawn);
  // Four standard errors of a share of 5000 draws.
  test::check_close(drawn, exact, {.abs = 4 * std::sqrt(exact * (1 - exact) / 5000)});
  CHECK(rank_correlation(order, noise).p_value == rank_correlation(order, noise).p_value);
}

TEST_CASE("[rank_correlation] what has none") {
  const std::vector<double> x{1, 2, 3, 4}, same{5, 5, 5, 5};
  const double none = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isnan(rank_correlation(x, same).rho));
  CHECK(std::isnan(rank_correlation(x, same).p_value));
  const RankCorrelation few = rank_correlation(x, std::vector<double>{1, none, none, 2});
  CHECK(few.pairs == 2);
  CHECK(std::isnan(few.rho));
  CHECK(rank_correlation(x, std::vector<double>{1, none, 5, 7}).rho == doctest::Approx(1));
  CHECK_THROWS_AS(rank_correlation(x, std::vector<double>{1}), UsageError);
}

TEST_CASE("[rank_correlation] the strongest of several: one alone, copies, and chance") {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  const auto noise = [&](size_t n) {
    std::vector<double> x(n);
    for (double& one : x) one = normal(random);
    return x;
  };
  const std::vector<double> a = noise(40), b = noise(40), few_a = noise(6), few_b = noise(6);
  const PermutationOptions options{.permutations = 1000};
  CHECK(strongest_p_value(Columns{a}, b, options) == rank_correlation(a, b, options).p_value);
  CHECK(strongest_p_value(Columns{few_a}, few_b) == rank_correlation(few_a, few_b).p_value);
  std::vector<double> turned = a;
  for (double& x : turned) x = -3 * x;
  CHECK(strongest_p_value(Columns{a, turned, a}, b, options) == rank_correlation(a, b, options).p_value);
  CHECK(std::isnan(strongest_p_value(Columns{std::vector<double>(40, 2.0)}, b, options)));

  // Of 13 columns that say nothing the strongest is below 0.05 in 5 % of all cases, not in 1 - 0.95^13.
  int significant = 0, naive = 0;
  constexpr int cases = 200;
  for (int i = 0; i < cases; ++i) {
    std::vector<std::vector<double>> columns;
    for (int c = 0; c < 13; ++c) columns.push_back(noise(24));
    const std::vector<double> loss = noise(24);
    significant += strongest_p_value(columns, loss, {.permutations = 199}) < 0.05 ? 1 : 0;
    double least = 1;
    for (const auto& column : columns)
      least = std::min(least, rank_correlation(column, loss, {.permutations = 199}).p_value);
    naive += least < 0.05 ? 1 : 0;
  }
  CHECK(significant <= 22);  // 10 +- 4 sd
  CHECK(significant >= 1);
  CHECK(naive > 60);
}

TEST_CASE("[rank_correlation] the strongest of columns that lack numbers") {
  const std::vector<double> b{1, 2, 3, 4, 5, 6, 7, 8};
  const double none = std::numeric_limits<double>::quiet_NaN();
  const std::vector<std::vector<double>> columns{{none, 2, 3, 4, 5, 6, 7, 8}, {4, 1, 3, 2, 8, 5, 7, 6}};
  // The first is in order where it has numbers, as few pairings of eight leave seven of them.
  const double p = strongest_p_value(columns, b, {.permutations = 50000});
  CHECK(p > 2.0 / 40320 - 1e-12);
  CHECK(p < 0.01);
}
