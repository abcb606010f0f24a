// SPDX-License-Identifier: MIT
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// The last step at which the key got at least an even share of the weight.
class LastUse : public Scorer {
 public:
  kernels::EvictionRule::Needs needs() const override { return {.weights = true}; }
  void observe(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    const std::span<double> last = set.scores();
    const std::span<const float> weights = set.weights();
    const auto share = static_cast<float>(1.0 / static_cast<double>(set.kept()));
    const auto now = static_cast<double>(step.position);
    for (size_t c = 0; c < last.size(); ++c) last[c] = weights[c] >= share ? now : last[c];
    last.back() = now;
  }
};

}  // namespace

PolicyInfo lru_policy() {
  return {.name = "lru",
          .summary = "the key leaves that has gone longest without an even share of the weight",
          .recent = [](int64_t) { return int64_t{1}; },
          .scorer = [](const RuleContext&, size_t) -> std::unique_ptr<Scorer> {
            return std::make_unique<LastUse>();
          }};
}

}  // namespace kvviz::policy
