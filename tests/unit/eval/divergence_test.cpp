// SPDX-License-Identifier: MIT
#include "kvviz/eval/divergence.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace kvviz;

namespace {

double log_z(const std::vector<float>& row) {
  double sum = 0;
  for (const float x : row) sum += std::exp(static_cast<double>(x));
  return std::log(sum);
}

double between(const std::vector<float>& p, const std::vector<float>& q, double error = 0) {
  return divergence({p.data(), log_z(p) + error}, {q.data(), log_z(q) - error}, std::ssize(p));
}

/// sum p ln(p / q) as the textbook has it.
double textbook(const std::vector<float>& p, const std::vector<float>& q) {
  long double sum = 0;
  const double zp = log_z(p), zq = log_z(q);
  for (size_t j = 0; j < p.size(); ++j) {
    const long double log_p = static_cast<double>(p[j]) - zp, log_q = static_cast<double>(q[j]) - zq;
    sum += std::exp(log_p) * (log_p - log_q);
  }
  return static_cast<double>(sum);
}

std::vector<float> noise(size_t size, float scale, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<float> row(size);
  for (float& x : row) x = scale * (static_cast<float>(bits() % 2001) / 1000 - 1);
  return row;
}

}  // namespace

TEST_CASE("[divergence] two tokens in closed form") {
  const std::vector<float> even{0, 0}, odd{0, std::log(3.0F)};
  // ln 2 - (ln 1 + ln 3) / 2 + ln 4 - 2 ln 2 of (1/2, 1/2) against (1/4, 3/4).
  CHECK(between(even, odd) == doctest::Approx(std::log(2.0) - std::log(3.0) / 2).epsilon(1e-7));
  CHECK(between(odd, even) == doctest::Approx(0.75 * std::log(3.0) - std::log(2.0)).epsilon(1e-7));
}

TEST_CASE("[divergence] every length agrees with the textbook sum, equal rows give exactly 0") {
  for (size_t size = 1; size < 70; ++size) {
    CAPTURE(size);
    const auto p = noise(size, 6, 1);
    auto q = p;
    const auto step = noise(size, 0.5F, 2);
    for (size_t j = 0; j < size; ++j) q[j] += step[j];
    CHECK(std::abs(between(p, q) - textbook(p, q)) < 1e-12);
    CHECK(between(p, p) == 0);
  }
}

TEST_CASE("[divergence] small divergences survive the error of a log-sum-exp in f32") {
  const auto p = noise(2000, 4, 3);
  auto q = p;
  const auto step = noise(2000, 1e-4F, 4);
  for (size_t j = 0; j < q.size(); ++j) q[j] += step[j];
  const double exact = between(p, q);
  CHECK(exact > 1e-10);
  CHECK(exact < 1e-7);
  // The plain sum would be wrong by 8e-7, hundreds of times the divergence.
  CHECK(std::abs(between(p, q, 4e-7) - exact) < 1e-12);
}

TEST_CASE("[divergence] distributions that have nothing in common, and rows that are not finite") {
  const std::vector<float> first{200, 0, 0, 0, 0}, last{0, 0, 0, 0, 200};
  CHECK(between(first, last) == doctest::Approx(200));
  std::vector<float> broken(40, 1.0F);
  broken[17] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> sound(40, 1.0F);
  CHECK(std::isnan(divergence({broken.data(), 4}, {sound.data(), 4}, 40)));
  CHECK(std::isnan(divergence({sound.data(), 4}, {broken.data(), 4}, 40)));
}
