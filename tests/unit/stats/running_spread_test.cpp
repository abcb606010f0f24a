// SPDX-License-Identifier: MIT
#include "kvviz/stats/running_spread.hpp"

#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "support/close.hpp"

using namespace kvviz::stats;
using kvviz::test::check_close;
using kvviz::test::Tol;

namespace {

RunningSpread of(const std::vector<double>& numbers) {
  RunningSpread spread;
  for (const double x : numbers) spread.add(x);
  return spread;
}

struct Quantile {
  double coverage;
  int64_t degrees;
  double t;
};

/// scipy 1.17.1: scipy.stats.t.ppf((1 + coverage) / 2, degrees)
constexpr Quantile kScipy[] = {
    {0.5, 1, 1.0000000000000002},   {0.5, 2, 0.81649658092772615},    {0.5, 3, 0.7648923284043444},
    {0.5, 4, 0.74069708411268287},  {0.5, 31, 0.6824863060025721},    {0.5, 1000, 0.67473516460700933},
    {0.95, 1, 12.706204736174694},  {0.95, 2, 4.3026527297494619},    {0.95, 3, 3.1824463052837078},
    {0.95, 4, 2.7764451051977934},  {0.95, 5, 2.5705818356363146},    {0.95, 7, 2.364624251592784},
    {0.95, 10, 2.2281388519862739}, {0.95, 30, 2.0422724563012378},   {0.95, 31, 2.0395134463964082},
    {0.95, 99, 1.9842169515864174}, {0.95, 1000, 1.9623390808264083}, {0.95, 100001, 1.9599877072973786},
    {0.99, 1, 63.656741162871526},  {0.99, 2, 9.9248432009182874},    {0.99, 7, 3.4994832973504924},
    {0.99, 30, 2.7499956535672254}, {0.99, 99, 2.6264054572808271},   {0.99, 100001, 2.5758784694167076}};

}  // namespace

TEST_CASE("[running_spread] whole numbers: mean, sd with divisor n - 1, standard error, least and greatest") {
  const RunningSpread spread = of({2, 4, 4, 4, 5, 5, 7, 9, 5});
  CHECK(spread.count() == 9);
  CHECK(spread.mean() == doctest::Approx(5).epsilon(1e-15));
  CHECK(spread.sd() == doctest::Approx(2).epsilon(1e-15));  // squares of the deviations: 32, by 8
  CHECK(spread.standard_error() == doctest::Approx(2.0 / 3).epsilon(1e-15));
  CHECK(spread.min() == 2);
  CHECK(spread.max() == 9);
}

TEST_CASE("[running_spread] none, one, and equal numbers") {
  const RunningSpread none;
  for (const double x : {none.mean(), none.sd(), none.standard_error(), none.min(), none.max()})
    CHECK(std::isnan(x));
  const RunningSpread one = of({-3});
  CHECK(one.mean() == -3);
  CHECK(one.min() == -3);
  CHECK(one.max() == -3);
  CHECK(std::isnan(one.sd()));
  CHECK(std::isnan(mean_interval(one, 0.95).low));
  const RunningSpread equal = of({0.1, 0.1, 0.1});
  CHECK(equal.mean() == 0.1);
  CHECK(equal.sd() == 0);
  CHECK(mean_interval(equal, 0.95).high == 0.1);
}

TEST_CASE("[running_spread] a small spread around a large mean is not lost") {
  std::mt19937_64 random(7);
  std::vector<double> numbers;
  for (int i = 0; i < 10'000; ++i) numbers.push_back(1e9 + static_cast<double>(random() % 1000) / 512);
  long double sum = 0, squares = 0;
  for (const double x : numbers) sum += x;
  const long double mean = sum / 10'000;
  for (const double x : numbers) squares += (x - mean) * (x - mean);
  const RunningSpread spread = of(numbers);
  // Of 1e9, 1e-16 an addition; the spread is 0.56.
  check_close(spread.mean(), static_cast<double>(mean), Tol{.rel = 1e-15});
  check_close(spread.sd(), std::sqrt(static_cast<double>(squares / 9'999)), Tol{.rel = 1e-7});
}

TEST_CASE(
    "[running_spread] Student's t: scipy's quantiles, closed forms, and the normal distribution at the end") {
  // As far as the header promises.
  for (const Quantile& q : kScipy) {
    CAPTURE(q.degrees);
    check_close(student_t(q.coverage, q.degrees), q.t, Tol{.rel = 1e-10});
  }
  for (const double p : {0.1, 0.5, 0.9, 0.999}) {
    check_close(student_t(p, 1), std::tan(p * std::numbers::pi / 2), Tol{.rel = 1e-10});
    check_close(student_t(p, 2), p * std::sqrt(2 / (1 - p * p)), Tol{.rel = 1e-10});
  }
  check_close(student_t(0.95, 5'000'000), 1.959963984540054, Tol{.rel = 3e-6});
}

TEST_CASE("[running_spread] the interval of the mean") {
  const RunningSpread spread = of({1, 2, 3});
  const Interval interval = mean_interval(spread, 0.95);
  const double half = 4.3026527297494619 / std::sqrt(3.0);
  check_close(interval.low, 2 - half, Tol{.rel = 1e-9});
  check_close(interval.high, 2 + half, Tol{.rel = 1e-9});
}
