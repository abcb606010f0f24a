// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace kvviz::stats {

// What a search over many pairs finds in independent data. A pair is called alike only above this: the best
// of many is large by selection alone.

/// |r| that the most correlated of `pairs` pairs of independent normal samples exceeds in at most one of 100
/// data sets: sqrt(1 - p^(2 / (samples - 2))), p = 0.01 / pairs, from the bound (1 - t^2)^((samples - 2) / 2)
/// of the area of two opposite caps of a sphere. Infinite for two samples or fewer, where |r| is always 1.
/// `samples` of dependent data is an effective number.
double chance_correlation(double pairs, double samples);

/// The same for a statistic whose deviation from its mean is that of a sum of squares, in standard
/// deviations: sqrt(2 x) + sqrt(2) x, x = ln(100 pairs) (Laurent & Massart, Ann. Stat. 28, 2000, lemma 1).
double chance_deviations(double pairs);

/// E|r| of two independent samples: Gamma((n - 1) / 2) / (sqrt(pi) Gamma(n / 2)), n = samples; 1 for two,
/// kNone for fewer.
double mean_abs_correlation(int64_t samples);

}  // namespace kvviz::stats
