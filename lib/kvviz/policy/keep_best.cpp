// SPDX-License-Identifier: MIT
#include "kvviz/policy/keep_best.hpp"

#include <algorithm>

namespace kvviz::policy {
namespace {

class KeepBest : public kernels::EvictionRule {
 public:
  KeepBest(const RuleContext& context, MakeScorer make)
      : splits_(context.splits.begin(), context.splits.end()) {
    for (size_t owner = 0; owner < context.owners.size(); ++owner) scorers_.push_back(make(context, owner));
  }
  Needs needs() const override { return scorers_.front()->needs(); }

  void after_step(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets) override {
    for (size_t i = 0; i < sets.size(); ++i) {
      kernels::SlotSet& set = sets[i];
      Scorer& scorer = *scorers_[i];
      const Split& split = splits_[i];
      scorer.observe(step, set);
      const int64_t excess = set.kept() - split.budget();
      if (!step.may_evict || excess <= 0) continue;
      scorer.prepare(step, set);
      drop_lowest(scorer, split, step, set, excess);
    }
  }

 private:
  std::vector<Split> splits_;
  std::vector<std::unique_ptr<Scorer>> scorers_;
};

}  // namespace

int64_t drop_lowest(kernels::SlotSet& set, int64_t count, int64_t begin, int64_t end) {
  constexpr int64_t few = 8;
  int64_t dropped = 0;
  for (; count <= few && dropped < count; ++dropped) {
    const int64_t column = set.lowest(begin, end);
    if (column < 0) return dropped;
    set.drop(column);
  }
  if (count <= few) return dropped;

  struct Candidate {
    double score;
    int64_t position, column;
  };
  std::vector<Candidate> candidates;
  const std::span<const double> scores = set.scores();
  for (int64_t column = 0; column < set.columns(); ++column) {
    const int64_t position = set.position(column);
    if (position < begin || position >= end) continue;
    candidates.push_back({ordered(scores[static_cast<size_t>(column)]), position, column});
  }
  const auto first = candidates.begin();
  const auto last = first + std::min<std::ptrdiff_t>(count, std::ssize(candidates));
  std::partial_sort(first, last, candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score < b.score : a.position < b.position;
  });
  for (auto candidate = first; candidate != last; ++candidate) set.drop(candidate->column);
  return last - first;
}

int64_t drop_lowest(const Scorer& scorer, const Split& split, const kernels::ScanStep& step,
                    kernels::SlotSet& set, int64_t count) {
  const int64_t end = step.position + 1 - split.recent;
  const int64_t scored_end = std::min(scorer.scored_end(step.position + 1), end);
  const int64_t dropped = drop_lowest(set, count, split.sinks, scored_end);
  return dropped < count ? dropped + drop_lowest(set, count - dropped, split.sinks, end) : dropped;
}

std::unique_ptr<kernels::EvictionRule> keep_best(const RuleContext& context, MakeScorer scorer) {
  return std::make_unique<KeepBest>(context, scorer);
}

}  // namespace kvviz::policy
