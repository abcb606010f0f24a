// SPDX-License-Identifier: MIT
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

class AccumulatedWeight : public Scorer {
 public:
  kernels::EvictionRule::Needs needs() const override { return {.weights = true}; }
  void observe(const kernels::ScanStep&, kernels::SlotSet& set) override { set.add_weights(); }
};

std::unique_ptr<Scorer> accumulated_weight(const RuleContext&, size_t) {
  return std::make_unique<AccumulatedWeight>();
}

}  // namespace

PolicyInfo h2o_policy() {
  return {
      .name = "h2o",
      .summary = "the key with the least accumulated weight leaves, the newest half of the budget is safe",
      .citation = "Zhang et al. 2023, arXiv 2306.14048 (real drop)",
      .recent = [](int64_t budget) { return budget / 2; },
      .scorer = &accumulated_weight};
}

PolicyInfo h2o_mask_policy() {
  PolicyInfo info = h2o_policy();
  info.name = "h2o:mask";
  info.summary = "as h2o, but evicted keys are masked and stay in memory";
  info.citation = "Zhang et al. 2023, arXiv 2306.14048 (masking at generation)";
  info.frees_memory = false;
  return info;
}

}  // namespace kvviz::policy
