// SPDX-License-Identifier: MIT
#include "kvviz/stats/rank_correlation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "kvviz/core/error.hpp"

namespace kvviz::stats {
namespace {

constexpr int64_t least_pairs = 3;
constexpr double rounding = 1e-9;  // of a sum of products of ranks, relative to their variance

/// Ranks less their mean.
std::vector<double> centred_ranks(std::span<const double> values) {
  std::vector<double> ranks = mean_ranks(values);
  for (double& rank : ranks) rank -= 0.5 * static_cast<double>(values.size() + 1);
  return ranks;
}

double product(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// n!, or `most` + 1 when that is less.
int64_t pairings(int64_t n, int64_t most) {
  int64_t count = 1;
  for (int64_t i = 2; i <= n && count <= most; ++i) count *= i;
  return std::min(count, most + 1);
}

/// Share of all n! pairings whose |product| is at least `limit`.
double exact_share(std::span<const double> a, std::span<const double> b, double limit) {
  std::vector<size_t> order(b.size());
  std::iota(order.begin(), order.end(), size_t{0});
  int64_t large = 0, all = 0;
  do {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[order[i]];
    large += std::abs(sum) >= limit ? 1 : 0;
    ++all;
  } while (std::ranges::next_permutation(order).found);
  return static_cast<double>(large) / static_cast<double>(all);
}

double sampled_share(std::span<const double> a, std::vector<double> b, double limit,
                     const PermutationOptions& options) {
  std::mt19937_64 random(options.seed);
  int64_t large = 0;
  for (int64_t draw = 0; draw < options.permutations; ++draw) {
    // The remainder's bias is below pairs / 2^64; std::shuffle differs between libraries.
    for (size_t i = b.size() - 1; i > 0; --i) std::swap(b[i], b[random() % (i + 1)]);
    large += std::abs(product(a, b)) >= limit ? 1 : 0;
  }
  return static_cast<double>(1 + large) / static_cast<double>(1 + options.permutations);
}

}  // namespace

std::vector<double> mean_ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  for (size_t first = 0; first < order.size();) {
    size_t end = first + 1;
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    for (size_t i = first; i < end; ++i) ranks[order[i]] = 0.5 * static_cast<double>(first + 1 + end);
    first = end;
  }
  return ranks;
}

RankCorrelation rank_correlation(std::span<const double> a, std::span<const double> b,
                                 const PermutationOptions& options) {
  require<UsageError>(a.size() == b.size(), "a rank correlation takes pairs; got ", a.size(), " and ",
                      b.size(), " numbers");
  std::vector<double> x, y;
  for (size_t i = 0; i < a.size(); ++i)
    if (std::isfinite(a[i]) && std::isfinite(b[i])) x.push_back(a[i]), y.push_back(b[i]);
  RankCorrelation result{.pairs = std::ssize(x)};
  if (result.pairs < least_pairs) return result;
  x = centred_ranks(x), y = centred_ranks(y);
  const double size = std::sqrt(product(x, x) * product(y, y));
  if (size == 0) return result;
  result.rho = product(x, y) / size;
  const double limit = (std::abs(result.rho) - rounding) * size;
  result.p_value = pairings(result.pairs, options.permutations) <= options.permutations
                       ? exact_share(x, y, limit)
                       : sampled_share(x, y, limit, options);
  return result;
}

}  // namespace kvviz::stats
