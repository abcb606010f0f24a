// SPDX-License-Identifier: MIT
#include "kvviz/policy/oneshot.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"

namespace kvviz::policy {
namespace {

void check_sizes(int64_t tokens, int64_t sinks) {
  require<UsageError>(tokens >= 0, "[oneshot] got ", tokens, " tokens, expected 0 or more");
  require<UsageError>(sinks >= 0, "[oneshot] got ", sinks, " sinks, expected 0 or more");
}

/// Marks the `count` highest of the scores from `begin` on.
void keep_highest(std::span<const double> scores, size_t begin, size_t count, KeepMask& mask) {
  for (size_t j = 0; j < scores.size(); ++j)
    require(!std::isnan(scores[j]), "[oneshot] the column sum of key ", j, " is NaN, expected a number");
  std::vector<size_t> order(scores.size() - std::min(begin, scores.size()));
  std::iota(order.begin(), order.end(), begin);
  std::ranges::stable_sort(order, {}, [&](size_t j) { return scores[j]; });
  const size_t kept = std::min(count, order.size());
  std::for_each(order.end() - static_cast<std::ptrdiff_t>(kept), order.end(),
                [&](size_t j) { mask[j] = true; });
}

}  // namespace

KeepMask oneshot_window(int64_t tokens, int64_t window) {
  return oneshot_streaming(tokens, window, 0);
}

KeepMask oneshot_streaming(int64_t tokens, int64_t budget, int64_t sinks) {
  check_sizes(tokens, sinks);
  KeepMask mask(static_cast<size_t>(tokens));
  const int64_t recent = std::max<int64_t>(budget - sinks, 0);
  for (int64_t p = 0; p < tokens; ++p) mask[static_cast<size_t>(p)] = p < sinks || p >= tokens - recent;
  return mask;
}

KeepMask oneshot_h2o(std::span<const double> column_sums, int64_t budget, int64_t sinks) {
  check_sizes(std::ssize(column_sums), sinks);
  KeepMask mask(column_sums.size());
  std::fill_n(mask.begin(), std::min(sinks, std::ssize(column_sums)), true);
  keep_highest(column_sums, static_cast<size_t>(sinks),
               static_cast<size_t>(std::max<int64_t>(budget - sinks, 0)), mask);
  return mask;
}

KeepMask oneshot_top(std::span<const double> column_sums, int64_t budget) {
  const int64_t keys = std::ssize(column_sums);
  const int64_t count = budget > 0 ? budget : std::max<int64_t>(keys + budget, 0);
  KeepMask mask(column_sums.size());
  keep_highest(column_sums, 0, static_cast<size_t>(count), mask);
  return mask;
}

KeepMask oneshot_mask(std::string_view policy, std::span<const double> column_sums, int64_t budget,
                      int64_t sinks) {
  const int64_t tokens = std::ssize(column_sums);
  if (policy == "full") return KeepMask(column_sums.size(), true);
  if (policy == "window") return oneshot_window(tokens, budget);
  if (policy == "streaming_llm") return oneshot_streaming(tokens, budget, sinks);
  if (policy == "h2o") return oneshot_h2o(column_sums, budget, sinks);
  require<UsageError>(policy == "lru", "[oneshot] '", policy,
                      "' has no one-shot mask; there are full, window, streaming_llm, h2o and lru");
  return oneshot_top(column_sums, budget);
}

std::vector<float> keep_columns(std::span<const float> rows, const KeepMask& mask) {
  require<UsageError>(mask.empty() ? rows.empty() : rows.size() % mask.size() == 0, "[oneshot] got ",
                      rows.size(), " numbers, expected rows of ", mask.size());
  std::vector<float> kept;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (mask[i % mask.size()]) kept.push_back(rows[i]);
  }
  return kept;
}

}  // namespace kvviz::policy
