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

/// Share of the pairings, given as the order of the second side, for which `large` holds.
template <class Large>
double share_of_pairings(size_t n, const PermutationOptions& options, Large large) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  if (pairings(static_cast<int64_t>(n), options.permutations) <= options.permutations) {
    int64_t some = 0, all = 0;
    do {
      some += large(order) ? 1 : 0;
      ++all;
    } while (std::ranges::next_permutation(order).found);
    return static_cast<double>(some) / static_cast<double>(all);
  }
  std::mt19937_64 random(options.seed);
  int64_t some = 1;
  for (int64_t draw = 0; draw < options.permutations; ++draw) {
    // The remainder's bias is below pairs / 2^64; std::shuffle differs between libraries.
    for (size_t i = n - 1; i > 0; --i) std::swap(order[i], order[random() % (i + 1)]);
    some += large(order) ? 1 : 0;
  }
  return static_cast<double>(some) / static_cast<double>(1 + options.permutations);
}

/// The numbers of one side that exist, in units of the standard deviation of their ranks.
struct Scored {
  std::vector<size_t> at;
  std::vector<double> ranks;  ///< less their mean, of length 1; empty: fewer than 3, or all alike

  explicit Scored(std::span<const double> values) {
    std::vector<double> some;
    for (size_t i = 0; i < values.size(); ++i)
      if (std::isfinite(values[i])) at.push_back(i), some.push_back(values[i]);
    if (std::ssize(some) < least_pairs) return;
    ranks = centred_ranks(some);
    const double length = std::sqrt(product(ranks, ranks));
    if (length == 0) ranks.clear();
    for (double& rank : ranks) rank /= length;
  }

  /// |correlation| with the ranks `b` in this order, where this side has numbers.
  double with(std::span<const double> b, std::span<const size_t> order) const {
    double sum = 0, mean = 0, squares = 0;
    for (size_t i = 0; i < ranks.size(); ++i) {
      const double y = b[order[at[i]]];
      sum += ranks[i] * y;
      mean += y;
      squares += y * y;
    }
    const double spread = squares - mean * mean / static_cast<double>(std::max<size_t>(ranks.size(), 1));
    return spread > rounding ? std::abs(sum) / std::sqrt(spread) : 0;
  }
};

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
  result.p_value = share_of_pairings(y.size(), options, [&](std::span<const size_t> order) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[order[i]];
    return std::abs(sum) >= limit;
  });
  return result;
}

double strongest_p_value(std::span<const std::vector<double>> columns, std::span<const double> b,
                         const PermutationOptions& options) {
  std::vector<size_t> known;
  for (size_t i = 0; i < b.size(); ++i)
    if (std::isfinite(b[i])) known.push_back(i);
  std::vector<double> ranks;
  for (const size_t i : known) ranks.push_back(b[i]);
  ranks = centred_ranks(ranks);
  std::vector<Scored> sides;
  for (const std::vector<double>& column : columns) {
    require<UsageError>(column.size() == b.size(), "a rank correlation takes pairs; got ", column.size(),
                        " and ", b.size(), " numbers");
    std::vector<double> values;
    for (const size_t i : known) values.push_back(column[i]);
    if (Scored side(values); !side.ranks.empty()) sides.push_back(std::move(side));
  }
  const auto strongest = [&](std::span<const size_t> order) {
    double most = 0;
    for (const Scored& side : sides) most = std::max(most, side.with(ranks, order));
    return most;
  };
  std::vector<size_t> as_given(known.size());
  std::iota(as_given.begin(), as_given.end(), size_t{0});
  const double observed = strongest(as_given);
  if (observed == 0) return kNone;
  return share_of_pairings(known.size(), options, [&](std::span<const size_t> order) {
    return strongest(order) >= observed - rounding;
  });
}

}  // namespace kvviz::stats
