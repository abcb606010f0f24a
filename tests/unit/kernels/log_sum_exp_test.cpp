// SPDX-License-Identifier: MIT
#include "kvviz/kernels/log_sum_exp.hpp"

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "kvviz/kernels/thread_pool.hpp"
#include "unit/kernels/guarded_floats.hpp"

namespace kvviz::kernels {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

std::vector<float> normal_row(size_t columns, float spread, float shift) {
  std::mt19937 random(static_cast<unsigned>(columns));
  std::normal_distribution<float> normal;
  std::vector<float> row(columns);
  for (float& x : row) x = spread * normal(random) + shift;
  return row;
}

double reference(const std::vector<float>& row) {
  const double top = static_cast<double>(*std::max_element(row.begin(), row.end()));
  double sum = 0;
  for (const float x : row) sum += std::exp(static_cast<double>(x) - top);
  return top + std::log(sum);
}

RowSummary summary(const std::vector<float>& row) {
  return log_sum_exp(row.data(), 1, static_cast<int64_t>(row.size())).front();
}

void check_row(size_t columns, float spread, float shift) {
  CAPTURE(columns);
  CAPTURE(spread);
  CAPTURE(shift);
  const std::vector<float> row = normal_row(columns, spread, shift);
  test::GuardedFloats guarded(row);
  const RowSummary got = log_sum_exp(guarded.data(), 1, static_cast<int64_t>(columns)).front();
  CHECK(got.maximum == *std::max_element(row.begin(), row.end()));
  CHECK(std::abs(got.log_sum_exp - reference(row)) < 1e-6);
  CHECK(got.log_sum_exp >= static_cast<double>(got.maximum));
}

TEST_CASE(
    "[log_sum_exp] equals the sum in doubles on every instruction set, and reads nothing behind the row") {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const std::string name = hwy::TargetName(target);
    CAPTURE(name);
    hwy::SetSupportedTargetsForTest(target);
    for (const size_t columns : {1, 2, 7, 15, 16, 17, 1000, 1023, 1024, 1025, 2049, 50257}) {
      for (const float spread : {0.0F, 0.1F, 3.0F, 40.0F}) {
        for (const float shift : {0.0F, -1000.0F, 1000.0F}) check_row(columns, spread, shift);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE("[log_sum_exp] n equal elements: their value + ln n") {
  CHECK(summary(std::vector<float>(5000, 2.5F)).log_sum_exp ==
        doctest::Approx(2.5 + std::log(5000.0)).epsilon(1e-7));
  CHECK(summary({-3.25F}).log_sum_exp == -3.25);
}

TEST_CASE("[log_sum_exp] the rows of a matrix do not touch each other, whatever the number of threads") {
  const int before = thread_count();
  const int64_t rows = 37, columns = 1500;
  std::vector<float> x = normal_row(static_cast<size_t>(rows * columns), 5, 0);
  set_thread_count(1);
  const auto one = log_sum_exp(x.data(), rows, columns);
  set_thread_count(3);
  const auto three = log_sum_exp(x.data(), rows, columns);
  set_thread_count(before);
  REQUIRE(one.size() == static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<float> row(x.begin() + r * columns, x.begin() + (r + 1) * columns);
    const auto i = static_cast<size_t>(r);
    CHECK(one[i].log_sum_exp == doctest::Approx(reference(row)).epsilon(1e-7));
    CHECK(one[i].log_sum_exp == three[i].log_sum_exp);
  }
}

TEST_CASE("[log_sum_exp] -inf weighs nothing, also whole stretches of it") {
  for (const size_t hidden : {size_t{1}, size_t{1024}, size_t{2999}}) {
    CAPTURE(hidden);
    std::vector<float> row = normal_row(3000, 1, 0);
    const std::vector<float> rest(row.begin() + static_cast<int64_t>(hidden), row.end());
    std::fill_n(row.begin(), hidden, -infinity);
    CHECK(summary(row).log_sum_exp == doctest::Approx(reference(rest)).epsilon(1e-7));
    std::reverse(row.begin(), row.end());
    CHECK(summary(row).log_sum_exp == doctest::Approx(reference(rest)).epsilon(1e-7));
  }
}

TEST_CASE("[log_sum_exp] a NaN or an infinite element anywhere makes the row NaN") {
  for (const size_t columns : {1, 16, 20, 1024, 3000}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), infinity}) {
      for (size_t at = 0; at < columns; at += std::max<size_t>(columns / 5, 1)) {
        CAPTURE(columns);
        CAPTURE(at);
        std::vector<float> row = normal_row(columns, 1, 0);
        row[at] = bad;
        CHECK(std::isnan(summary(row).log_sum_exp));
      }
    }
  }
}

}  // namespace
}  // namespace kvviz::kernels
