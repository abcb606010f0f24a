// SPDX-License-Identifier: MIT
#include "kvviz/stats/channels.hpp"

#include <cmath>
#include <random>
#include <vector>

#include "support/close.hpp"

using namespace kvviz::stats;
using kvviz::test::check_close;
using kvviz::test::Tol;

TEST_CASE("[channels] two columns by hand") {
  const std::vector<float> x{4, 1,  //
                             1, -1, -3, 1, 2, -1};
  const ColumnStats s = column_stats({x.data(), 4, 2}, {.threshold = 2, .skip_first = 1});
  CHECK(s.rows == 4);
  CHECK(s.skipped == 1);
  CHECK(s.sum == std::vector<double>{4, 0});
  CHECK(s.sum_sq == std::vector<double>{30, 4});
  CHECK(s.abs_max == std::vector<double>{4, 1});
  CHECK(s.below == std::vector<int64_t>{1, 4});  // strictly: the 2 is not below 2
  CHECK(s.m2 == std::vector<double>{26, 4});     // about 1: 9 0 16 1
  CHECK(s.m4 == std::vector<double>{338, 4});
  CHECK(s.abs_first == std::vector<double>{4, 1});
  CHECK(s.abs_rest == std::vector<double>{6, 3});
  CHECK(s.abs_rest_m2 == std::vector<double>{2, 0});  // 1 3 2 about 2
}

TEST_CASE("[channels] columns agree with plain loops") {
  constexpr int64_t rows = 301, cols = 13;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(3, 1);
  std::vector<float> x(rows * cols);
  for (float& value : x) value = normal(random);
  const ColumnStats s = column_stats({x.data(), rows, cols}, {.threshold = 2.5, .skip_first = 2});
  for (int64_t c = 0; c < cols; ++c) {
    long double mean = 0, rest_mean = 0, m2 = 0, m4 = 0, rest = 0;
    int64_t below = 0;
    for (int64_t r = 0; r < rows; ++r) mean += x[r * cols + c] / static_cast<long double>(rows);
    for (int64_t r = 2; r < rows; ++r)
      rest_mean += std::fabs(x[r * cols + c]) / static_cast<long double>(rows - 2);
    for (int64_t r = 0; r < rows; ++r) {
      const long double d = x[r * cols + c] - mean, a = std::fabs(x[r * cols + c]) - rest_mean;
      m2 += d * d;
      m4 += d * d * d * d;
      if (r >= 2) rest += a * a;
      below += std::fabs(x[r * cols + c]) < 2.5 ? 1 : 0;
    }
    const Tol tol{.rel = 1e-12};
    check_close(s.m2[c], static_cast<double>(m2), tol);
    check_close(s.m4[c], static_cast<double>(m4), tol);
    check_close(s.abs_rest_m2[c], static_cast<double>(rest), tol);
    CHECK(s.below[c] == below);
  }
}

TEST_CASE("[channels] fewer rows than are skipped") {
  const std::vector<float> x{-5, 2};
  const ColumnStats s = column_stats({x.data(), 1, 2}, {.threshold = 1, .skip_first = 4});
  CHECK(s.skipped == 1);
  CHECK(s.abs_first == std::vector<double>{5, 2});
  CHECK(s.abs_rest == std::vector<double>{0, 0});
  CHECK(s.abs_rest_m2 == std::vector<double>{0, 0});
}

TEST_CASE("[channels] median") {
  CHECK(median({3, 1, 2}) == 2);
  CHECK(median({4, 1, 3, 2}) == 2.5);
  CHECK(median({7}) == 7);
  CHECK(std::isnan(median({})));
}
