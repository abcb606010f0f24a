// SPDX-License-Identifier: MIT
#include "kvviz/stats/running_spread.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>

namespace kvviz::stats {
namespace {

/// P(|T| < sqrt(degrees) tan theta).
double within(double theta, int64_t degrees) {
  const double sine = std::sin(theta), cosine = std::cos(theta), square = cosine * cosine;
  const bool odd = degrees % 2 == 1;
  double term = odd ? cosine : 1.0, sum = degrees == 1 ? 0 : term;
  for (int64_t k = odd ? 3 : 2; k < degrees; k += 2) {
    term *= square * static_cast<double>(k - 1) / static_cast<double>(k);
    sum += term;
  }
  return odd ? 2 / std::numbers::pi * (theta + sine * sum) : sine * sum;
}

}  // namespace

void RunningSpread::add(double x) {
  min_ = count_ == 0 ? x : std::min(min_, x);
  max_ = count_ == 0 ? x : std::max(max_, x);
  ++count_;
  const double before = x - mean_;
  mean_ += before / static_cast<double>(count_);
  m2_ += before * (x - mean_);
}

double RunningSpread::sd() const {
  return count_ < 2 ? kNone : std::sqrt(m2_ / static_cast<double>(count_ - 1));
}

double RunningSpread::standard_error() const {
  return sd() / std::sqrt(static_cast<double>(count_));
}

double student_t(double coverage, int64_t degrees) {
  assert(coverage > 0 && coverage < 1 && degrees >= 1);
  degrees = std::min<int64_t>(degrees, 1'000'000);
  double low = 0, high = std::numbers::pi / 2;
  for (double middle = high / 2; low < middle && middle < high; middle = low + (high - low) / 2)
    (within(middle, degrees) < coverage ? low : high) = middle;
  return std::sqrt(static_cast<double>(degrees)) * std::tan(high);
}

Interval mean_interval(const RunningSpread& spread, double coverage) {
  if (spread.count() < 2) return {};
  const double half = student_t(coverage, spread.count() - 1) * spread.standard_error();
  return {spread.mean() - half, spread.mean() + half};
}

}  // namespace kvviz::stats
