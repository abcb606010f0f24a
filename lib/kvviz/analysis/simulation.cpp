// SPDX-License-Identifier: MIT
#include "kvviz/analysis/simulation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvviz::analysis {

void mark_frontier(std::vector<PolicyOutcome>& outcomes) {
  std::vector<PolicyOutcome*> order;
  for (PolicyOutcome& outcome : outcomes) {
    outcome.on_frontier = false;
    const bool saves = outcome.evictions == 0 || outcome.resident_bytes < outcome.full_bytes;
    if (!outcome.clairvoyant && saves && std::isfinite(outcome.delta_nll)) order.push_back(&outcome);
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

std::vector<std::string> policies_by_loss(std::span<const PolicyOutcome> outcomes) {
  struct Ranked {
    std::string policy;
    bool clairvoyant = false;
    double sum = 0, count = 0;
    double loss() const { return count > 0 ? sum / count : std::numeric_limits<double>::infinity(); }
  };
  std::vector<Ranked> order;
  for (const PolicyOutcome& outcome : outcomes) {
    auto at = std::ranges::find(order, outcome.policy, &Ranked::policy);
    if (at == order.end()) at = order.insert(at, {outcome.policy, outcome.clairvoyant});
    if (std::isfinite(outcome.delta_nll)) at->sum += outcome.delta_nll, ++at->count;
  }
  std::ranges::stable_sort(order, [](const Ranked& a, const Ranked& b) {
    return a.clairvoyant != b.clairvoyant ? b.clairvoyant : a.loss() < b.loss();
  });
  std::vector<std::string> names;
  for (const Ranked& ranked : order) names.push_back(ranked.policy);
  return names;
}

bool keeps_memory(const PolicyOutcome& outcome) {
  constexpr double rounding = 1 - 1e-9;
  return outcome.evictions > 0 &&
         outcome.resident_bytes - outcome.metadata_bytes >= rounding * outcome.full_bytes;
}

const PolicyOutcome* best_at(std::span<const PolicyOutcome> outcomes, const std::string& budget) {
  const PolicyOutcome* best = nullptr;
  for (const PolicyOutcome& outcome : outcomes) {
    if (outcome.budget != budget || outcome.clairvoyant || !std::isfinite(outcome.delta_nll)) continue;
    if (outcome.resident_bytes >= outcome.full_bytes) continue;
    if (best == nullptr || outcome.delta_nll < best->delta_nll) best = &outcome;
  }
  return best;
}

}  // namespace kvviz::analysis
