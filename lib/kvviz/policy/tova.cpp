// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/policy/keep_best.hpp"
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// One decision for all heads of the layer: they drop the same positions, so their columns stay alike.
class LeastWeightNow : public kernels::EvictionRule {
 public:
  explicit LeastWeightNow(const RuleContext& context)
      : split_(context.splits.front()), maximum_(context.options.aggregate == kernels::Aggregate::max) {}
  Needs needs() const override { return {.weights = true}; }

  void after_step(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets) override {
    kernels::SlotSet& first = sets.front();
    const int64_t excess = first.kept() - split_.budget();
    if (!step.may_evict || excess <= 0) return;
    const std::span<double> scores = first.scores();
    std::fill(scores.begin(), scores.end(), 0.0);
    for (const kernels::SlotSet& set : sets) {
      const std::span<const float> weights = set.weights();
      for (size_t c = 0; c < scores.size(); ++c) {
        const auto weight = static_cast<double>(weights[c]);
        scores[c] = maximum_ ? std::max(scores[c], weight) : scores[c] + weight;
      }
    }
    const size_t logged = first.log().size();
    drop_lowest(first, excess, split_.sinks, step.position + 1 - split_.recent);
    for (const kernels::Eviction& eviction : first.log().subspan(logged)) {
      for (kernels::SlotSet& set : sets.subspan(1)) set.drop(set.column_of(eviction.position));
    }
  }

 private:
  Split split_;
  bool maximum_;
};

}  // namespace

PolicyInfo tova_policy() {
  return {.name = "tova",
          .summary = "the key with the least weight at this step leaves, from all heads of the layer",
          .citation = "Oren et al. 2024, arXiv 2401.06104",
          .grain = Grain::layer,
          .recent = [](int64_t) { return int64_t{1}; },
          .rule = [](const RuleContext& context) -> std::unique_ptr<kernels::EvictionRule> {
            return std::make_unique<LeastWeightNow>(context);
          },
          .metadata = &positions_kept,
          .alike = true};
}

}  // namespace kvviz::policy
