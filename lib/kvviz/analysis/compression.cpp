// SPDX-License-Identifier: MIT
#include "kvviz/analysis/compression.hpp"

#include "kvviz/analysis/frontier.hpp"

namespace kvviz::analysis {

const CacheOutcome* smallest_within(const CompressionStudy& study, double percent) {
  const CacheOutcome* best = nullptr;
  for (const CacheOutcome& outcome : study.outcomes) {
    if (!(outcome.change_percent() < percent)) continue;
    if (best == nullptr || outcome.bytes() < best->bytes()) best = &outcome;
  }
  return best;
}

void mark_frontier(std::vector<CacheOutcome>& outcomes) {
  std::vector<double> bytes, losses;
  for (const CacheOutcome& outcome : outcomes) {
    bytes.push_back(outcome.bytes());
    losses.push_back(outcome.change_percent());
  }
  const std::vector<bool> chosen = pareto_set(bytes, losses);
  for (size_t i = 0; i < outcomes.size(); ++i) outcomes[i].on_frontier = chosen[i];
}

}  // namespace kvviz::analysis
