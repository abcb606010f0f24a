// SPDX-License-Identifier: MIT
#include "kvviz/stats/chance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kvviz/stats/moments.hpp"

namespace kvviz::stats {
namespace {

constexpr double kShare = 0.01;  // of data sets without structure in which something is found

}  // namespace

double chance_correlation(double pairs, double samples) {
  if (samples <= 2) return std::numeric_limits<double>::infinity();
  const double p = kShare / std::max(pairs, 1.0);
  return std::sqrt(-std::expm1(2 * std::log(p) / (samples - 2)));
}

double chance_deviations(double pairs) {
  const double x = std::log(std::max(pairs, 1.0) / kShare);
  return std::sqrt(2 * x) + std::numbers::sqrt2 * x;
}

double mean_abs_correlation(int64_t samples) {
  if (samples < 2) return kNone;
  const double n = static_cast<double>(samples);
  return std::exp(std::lgamma((n - 1) / 2) - std::lgamma(n / 2)) * std::numbers::inv_sqrtpi;
}

}  // namespace kvviz::stats
