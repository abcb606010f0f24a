// SPDX-License-Identifier: MIT
#include "kvviz/analysis/frontier.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvviz::analysis {

std::vector<bool> pareto_set(std::span<const double> costs, std::span<const double> losses) {
  std::vector<size_t> order;
  for (size_t i = 0; i < costs.size(); ++i)
    if (std::isfinite(costs[i]) && std::isfinite(losses[i])) order.push_back(i);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return costs[a] != costs[b] ? costs[a] < costs[b] : losses[a] < losses[b];
  });
  std::vector<bool> chosen(costs.size(), false);
  double best = std::numeric_limits<double>::infinity();
  for (const size_t i : order) {
    chosen[i] = losses[i] < best;
    best = std::min(best, losses[i]);
  }
  return chosen;
}

}  // namespace kvviz::analysis
