// SPDX-License-Identifier: MIT
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// The weight that full attention will still give a key after this step.
class FutureWeight : public Scorer {
 public:
  explicit FutureWeight(const std::vector<double>& total) : remaining_(total) {}
  kernels::EvictionRule::Needs needs() const override { return {.full_weights = true}; }
  void observe(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    const std::span<const float> weights = set.full_weights();
    const std::span<double> scores = set.scores();
    const bool last = step.position + 1 == std::ssize(remaining_);
    for (size_t c = 0; c < scores.size(); ++c) {
      const int64_t key = set.position(static_cast<int64_t>(c));
      if (key < 0) continue;
      double& remaining = remaining_[static_cast<size_t>(key)];
      remaining -= static_cast<double>(weights[static_cast<size_t>(key)]);
      // After the last step it is 0 without rounding: the oldest leaves.
      scores[c] = last ? 0 : remaining;
    }
  }

 private:
  std::vector<double> remaining_;
};

}  // namespace

PolicyInfo oracle_policy() {
  return {.name = "oracle",
          .summary = "the key leaves that full attention will need least from here on; greedy, not optimal",
          .scorer = [](const RuleContext& context, size_t owner) -> std::unique_ptr<Scorer> {
            return std::make_unique<FutureWeight>(context.total_mass[owner]);
          },
          .clairvoyant = true};
}

}  // namespace kvviz::policy
