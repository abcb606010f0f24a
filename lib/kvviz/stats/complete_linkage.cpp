// SPDX-License-Identifier: MIT
#include "kvviz/stats/complete_linkage.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvviz/core/error.hpp"

namespace kvviz::stats {

std::vector<std::vector<int64_t>> complete_linkage(std::span<const double> similarity, int64_t items,
                                                   double threshold) {
  require(std::ssize(similarity) == items * items, "[complete_linkage] got ", similarity.size(),
          " similarities; expected ", items, " x ", items);
  // Of the groups that stand at their first item. The minimum of a NaN depends on its place: none stays.
  std::vector<double> alike;
  for (const double value : similarity)
    alike.push_back(std::isnan(value) ? -std::numeric_limits<double>::infinity() : value);
  std::vector<std::vector<int64_t>> groups(items);
  for (int64_t i = 0; i < items; ++i) groups[i] = {i};
  for (;;) {
    int64_t left = -1, right = -1;
    double most = threshold;
    for (int64_t i = 0; i < items; ++i) {
      for (int64_t j = i + 1; j < items && !groups[i].empty(); ++j) {
        const double value = alike[i * items + j];
        const bool better = left < 0 ? value >= most : value > most;
        if (groups[j].empty() || !better) continue;
        most = value;
        left = i;
        right = j;
      }
    }
    if (left < 0) break;
    groups[left].insert(groups[left].end(), groups[right].begin(), groups[right].end());
    groups[right].clear();
    for (int64_t k = 0; k < items; ++k) {
      const double least = std::min(alike[left * items + k], alike[right * items + k]);
      alike[left * items + k] = alike[k * items + left] = least;
    }
  }
  std::erase_if(groups, [](const auto& group) { return group.empty(); });
  for (auto& group : groups) std::ranges::sort(group);
  return groups;
}

}  // namespace kvviz::stats
