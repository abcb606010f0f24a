// SPDX-License-Identifier: MIT
#include <algorithm>
#include <numeric>

#include "kvviz/policy/keep_best.hpp"
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// The tokens with the most weight over the whole text, the future included, are chosen once; any other key
/// leaves when it is no longer recent.
class GlobalHeavyHitters : public kernels::EvictionRule {
 public:
  explicit GlobalHeavyHitters(const RuleContext& context) {
    for (size_t i = 0; i < context.owners.size(); ++i) {
      const std::vector<double>& mass = context.total_mass[i];
      const Split& split = context.splits[i];
      std::vector<int64_t> order(mass.size());
      std::iota(order.begin(), order.end(), int64_t{0});
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return ordered(mass[static_cast<size_t>(a)]) > ordered(mass[static_cast<size_t>(b)]);
      });
      Head head{std::vector<bool>(mass.size()), split};
      int64_t chosen = 0;
      for (const int64_t key : order) {
        if (chosen == split.heavy) break;
        if (key < split.sinks) continue;
        head.heavy[static_cast<size_t>(key)] = true;
        ++chosen;
      }
      heads_.push_back(std::move(head));
    }
  }

  void after_step(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets) override {
    if (!step.may_evict) return;
    for (size_t i = 0; i < sets.size(); ++i) {
      Head& head = heads_[i];
      if (step.position < head.split.budget()) continue;
      for (; head.next < step.position + 1 - head.split.recent; ++head.next) {
        if (head.next >= head.split.sinks && !head.heavy[static_cast<size_t>(head.next)] &&
            sets[i].holds(head.next))
          sets[i].drop(sets[i].column_of(head.next));
      }
    }
  }

 private:
  struct Head {
    std::vector<bool> heavy;
    Split split;
    int64_t next = 0;  // first position that has not left the recent ones
  };
  std::vector<Head> heads_;
};

}  // namespace

PolicyInfo h2o_global_policy() {
  return {.name = "h2o:global",
          .summary =
              "the heaviest tokens of the whole text, future included, beside the newest half of the budget",
          .citation = "Zhang et al. 2023, arXiv 2306.14048 (LLaMA evaluation)",
          .recent = [](int64_t budget) { return budget / 2; },
          .rule = [](const RuleContext& context) -> std::unique_ptr<kernels::EvictionRule> {
            return std::make_unique<GlobalHeavyHitters>(context);
          },
          .metadata = &positions_kept,
          .clairvoyant = true};
}

}  // namespace kvviz::policy
