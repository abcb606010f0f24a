// SPDX-License-Identifier: MIT
#include "kvviz/analysis/simulation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvviz/analysis/frontier.hpp"

namespace kvviz::analysis {

void mark_frontier(std::vector<PolicyOutcome>& outcomes) {
  std::vector<double> bytes, losses;
  for (const PolicyOutcome& outcome : outcomes) {
    const bool saves = outcome.evictions == 0 || outcome.resident_bytes < outcome.full_bytes;
    bytes.push_back(!outcome.clairvoyant && saves ? outcome.resident_bytes : kNone);
    losses.push_back(outcome.delta_nll);
  }
  const std::vector<bool> chosen = pareto_set(bytes, losses);
  for (size_t i = 0; i < outcomes.size(); ++i) outcomes[i].on_frontier = chosen[i];
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
    if (best == nullptr || outcome.change_percent() < best->change_percent()) best = &outcome;
  }
  return best;
}

}  // namespace kvviz::analysis
