// SPDX-License-Identifier: MIT
#include "kvviz/analysis/pruning.hpp"

#include <algorithm>
#include <cmath>

namespace kvviz::analysis {

std::vector<SweepCorrelation> correlations_of(const SweepStudy& study) {
  std::vector<std::optional<Half>> halves{std::nullopt};
  if (study.kind == SweepKind::channels) halves = {Half::key, Half::value};
  std::vector<SweepCorrelation> all;
  for (size_t m = 0; m < study.metrics.size(); ++m)
    for (const std::optional<Half> half : halves) {
      std::vector<double> metric, loss, kl;
      for (const SweepItem& item : study.items) {
        if (item.half != half) continue;
        metric.push_back(item.metrics[m]);
        loss.push_back(item.outcome.delta_nll);
        kl.push_back(item.outcome.kl);
      }
      if (metric.empty()) continue;
      all.push_back({.metric = study.metrics[m],
                     .half = half,
                     .loss = stats::rank_correlation(metric, loss),
                     .kl = stats::rank_correlation(metric, kl)});
    }
  return all;
}

std::vector<const SweepItem*> by_loss(const SweepStudy& study) {
  std::vector<const SweepItem*> order;
  for (const SweepItem& item : study.items) order.push_back(&item);
  std::ranges::stable_sort(order, {}, [](const SweepItem* item) { return item->outcome.delta_nll; });
  return order;
}

const SweepCorrelation* best_correlation(const SweepStudy& study) {
  const SweepCorrelation* best = nullptr;
  for (const SweepCorrelation& one : study.correlations)
    if (std::isfinite(one.loss.rho) && (best == nullptr || std::abs(one.loss.rho) > std::abs(best->loss.rho)))
      best = &one;
  return best;
}

double best_p_value(const SweepStudy& study) {
  const SweepCorrelation* best = best_correlation(study);
  if (best == nullptr) return kNone;
  std::vector<std::vector<double>> metrics(study.metrics.size());
  std::vector<double> loss;
  for (const SweepItem& item : study.items) {
    if (item.half != best->half) continue;
    loss.push_back(item.outcome.delta_nll);
    for (size_t m = 0; m < metrics.size(); ++m) metrics[m].push_back(item.metrics[m]);
  }
  return std::min(1.0, (best->half ? 2 : 1) * stats::strongest_p_value(metrics, loss));
}

}  // namespace kvviz::analysis
