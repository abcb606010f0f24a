// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/stats/moments.hpp"

namespace kvviz::stats {

/// Ranks from 1 on; equal values get the mean of their ranks. Values are finite.
std::vector<double> mean_ranks(std::span<const double> values);

struct PermutationOptions {
  int64_t permutations = 10000;  ///< at least 1
  uint64_t seed = 1;
};

struct RankCorrelation {
  int64_t pairs = 0;  ///< where both numbers are finite
  /// Spearman's rho: the Pearson correlation of the mean ranks (Spearman 1904; with ties as Kendall 1945).
  /// -1 .. 1. kNone for fewer than 3 pairs, or when one side is constant.
  double rho = kNone;
  /// Share of the pairings of the two sides with |rho| at least as large, two-sided. Every pairing when there
  /// are no more than `permutations` of them; else that many random ones, and the pairing at hand with them:
  /// (1 + as large) / (1 + permutations). Pairs that are not exchangeable (heads of one layer are alike) make
  /// it too small. kNone as rho.
  double p_value = kNone;
};

/// Rank correlation of two equally long lists. The same seed gives the same p-value on every machine. Cost:
/// permutations x pairs. Throws UsageError for lists of different lengths.
RankCorrelation rank_correlation(std::span<const double> a, std::span<const double> b,
                                 const PermutationOptions& options = {});

/// p of the strongest of several rank correlations with the same numbers `b`: the share of the pairings in
/// which the largest |rho| of all columns is at least the largest at hand (Westfall & Young 1993, the maximum
/// statistic): so that of a dozen unrelated columns one is not called related in every third case. Pairings
/// as in rank_correlation(). Where a column lacks numbers its rho is of the others, with their ranks among
/// all of b. kNone where no column has a rho. Cost: permutations x pairs x columns. Throws as
/// rank_correlation().
double strongest_p_value(std::span<const std::vector<double>> columns, std::span<const double> b,
                         const PermutationOptions& options = {});

}  // namespace kvviz::stats
