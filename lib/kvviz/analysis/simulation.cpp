// SPDX-License-Identifier: MIT
#include "kvviz/analysis/simulation.hpp"

#include <algorithm>
#include <limits>

namespace kvviz::analysis {

void mark_frontier(std::vector<PolicyOutcome>& outcomes) {
  std::vector<PolicyOutcome*> order;
  for (PolicyOutcome& outcome : outcomes) {
    outcome.on_frontier = false;
    if (!outcome.clairvoyant && outcome.delta_nll == outcome.delta_nll) order.push_back(&outcome);
  }
  std::ranges::stable_sort(order, [](const PolicyOutcome* a, const PolicyOutcome* b) {
    return a->resident_bytes != b->resident_bytes ? a->resident_bytes < b->resident_bytes
                                                  : a->delta_nll < b->delta_nll;
  });
  double best = std::numeric_limits<double>::infinity();
  for (PolicyOutcome* const outcome : order) {
    outcome->on_frontier = outcome->delta_nll < best;
    best = std::min(best, outcome->delta_nll);
  }
}

}  // namespace kvviz::analysis
