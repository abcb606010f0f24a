// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/policy/full_rows.hpp"
#include "kvviz/policy/keep_best.hpp"
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// The heavy set is chosen from itself and the newest key; keys outside it stay while they are recent, and
/// cannot become heavy again.
class FullRowHeavyHitters : public kernels::EvictionRule {
 public:
  explicit FullRowHeavyHitters(const RuleContext& context)
      : splits_(context.splits.begin(), context.splits.end()),
        heads_(splits_.size()),
        rows_(splits_.size(), FullRows(context.options.aggregate)) {}

  void after_step(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets) override {
    for (size_t i = 0; i < sets.size(); ++i) {
      Head& head = heads_[i];
      const Split& split = splits_[i];
      head.score.push_back(0);
      head.is_heavy.push_back(step.position >= split.sinks);
      if (head.is_heavy.back()) head.heavy.push_back(step.position);
      if (step.shape.window > 0) std::erase(head.heavy, step.position - step.shape.window);
      const std::span<const float> weights = rows_[i].next(step, sets[i].owner());
      for (const int64_t key : head.heavy)
        head.score[static_cast<size_t>(key)] += static_cast<double>(weights[static_cast<size_t>(key)]);
      if (!step.may_evict || step.position < split.budget()) continue;
      shrink(head, split.heavy, sets[i]);
      for (; head.next < step.position + 1 - split.recent; ++head.next) {
        if (head.next >= split.sinks && !head.is_heavy[static_cast<size_t>(head.next)])
          drop(head.next, sets[i]);
      }
    }
  }

 private:
  struct Head {
    std::vector<double> score;  // by position
    std::vector<bool> is_heavy;
    std::vector<int64_t> heavy;
    int64_t next = 0;  // first position that has not left the recent ones
  };

  static void shrink(Head& head, int64_t size, kernels::SlotSet& set) {
    if (std::ssize(head.heavy) <= size) return;
    const auto begin = head.heavy.begin(), end = head.heavy.end() - size;
    const auto score = [&](int64_t key) { return ordered(head.score[static_cast<size_t>(key)]); };
    std::nth_element(begin, end - 1, head.heavy.end(), [&](int64_t a, int64_t b) {
      const double of_a = score(a), of_b = score(b);
      return of_a != of_b ? of_a < of_b : a < b;
    });
    for (auto key = begin; key != end; ++key) {
      head.is_heavy[static_cast<size_t>(*key)] = false;
      if (*key < head.next) drop(*key, set);
    }
    head.heavy.erase(begin, end);
  }

  static void drop(int64_t key, kernels::SlotSet& set) {
    if (set.holds(key)) set.drop(set.column_of(key));
  }

  std::vector<Split> splits_;
  std::vector<Head> heads_;
  std::vector<FullRows> rows_;
};

}  // namespace

PolicyInfo h2o_fullrow_policy() {
  return {.name = "h2o:fullrow",
          .summary =
              "heavy set by the weights over all keys, evicted ones included, beside the newest half of the "
              "budget",
          .citation = "Zhang et al. 2023, arXiv 2306.14048 (OPT and GPT-NeoX evaluation)",
          .recent = [](int64_t budget) { return budget / 2; },
          .rule = [](const RuleContext& context) -> std::unique_ptr<kernels::EvictionRule> {
            return std::make_unique<FullRowHeavyHitters>(context);
          },
          .frees_memory = false};
}

}  // namespace kvviz::policy
