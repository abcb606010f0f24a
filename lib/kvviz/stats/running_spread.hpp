// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "kvviz/stats/moments.hpp"

namespace kvviz::stats {

/// Mean and spread of numbers that come one after the other and are not kept (Welford, Technometrics 4,
/// 1962):
///   mean += (x - mean) / n,   m2 += (x - mean before) (x - mean after)
/// in fp64. The same numbers in the same order give the same bits.
class RunningSpread {
 public:
  /// A finite number.
  void add(double x);

  int64_t count() const { return count_; }
  double mean() const { return count_ > 0 ? mean_ : kNone; }
  double sd() const;              ///< divisor n - 1; kNone for fewer than 2
  double standard_error() const;  ///< sd / sqrt(n); kNone for fewer than 2
  double min() const { return count_ > 0 ? min_ : kNone; }
  double max() const { return count_ > 0 ? max_ : kNone; }

 private:
  int64_t count_ = 0;
  double mean_ = 0, m2_ = 0, min_ = 0, max_ = 0;
};

/// The t that |T| of Student's distribution stays below with probability `coverage`: t_{(1 + coverage) / 2}.
/// The distribution function of whole degrees of freedom n is a finite sum (Abramowitz & Stegun, 26.7.3 and
/// 26.7.4): with theta = atan(t / sqrt n), P(|T| < t) is
///   odd n:  2 / pi (theta + sin theta (cos theta + 2/3 cos^3 theta + ... + 2 4 ... (n-3) / (3 5 ... (n-2))
///           cos^(n-2) theta))
///   even n: sin theta (1 + 1/2 cos^2 theta + ... + 1 3 ... (n-3) / (2 4 ... (n-2)) cos^(n-2) theta)
/// and theta is found by bisection. Relative error below 1e-10. Requires 0 < coverage < 1 and degrees >= 1.
/// Cost: about 30 degrees multiplications; from a million degrees on those of a million, whose t differs from
/// the normal distribution's by 2e-6.
double student_t(double coverage, int64_t degrees);

struct Interval {
  double low = kNone, high = kNone;
};

/// The confidence interval of the mean of independent numbers: mean +- t sd / sqrt(n), t =
/// student_t(coverage, n - 1) (Student, Biometrika 6, 1908). Exact for normally distributed numbers, for
/// others as far as the central limit theorem goes. kNone for fewer than 2.
Interval mean_interval(const RunningSpread& spread, double coverage);

}  // namespace kvviz::stats
