// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <tuple>

#include "kvviz/policy/keep_best.hpp"
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// The heads of a layer compete for one budget; each keeps a floor.
class SharedBudget : public kernels::EvictionRule {
 public:
  SharedBudget(const RuleContext& context, MakeScorer make)
      : splits_(context.splits.begin(), context.splits.end()), floor_(context.options.floor) {
    for (size_t i = 0; i < context.owners.size(); ++i) scorers_.push_back(make(context, i));
    for (const Split& split : splits_) total_ += split.budget();
  }
  Needs needs() const override { return scorers_.front()->needs(); }

  void after_step(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets) override {
    int64_t held = 0;
    for (size_t i = 0; i < sets.size(); ++i) {
      scorers_[i]->observe(step, sets[i]);
      held += sets[i].kept();
    }
    const bool after_prompt = held_back_;
    held_back_ = !step.may_evict;
    if (!step.may_evict || held <= total_) return;
    for (size_t i = 0; i < sets.size(); ++i) scorers_[i]->prepare(step, sets[i]);
    if (after_prompt) held -= cut(step, sets);
    drop(step, sets, held - total_);
  }

 private:
  /// The key of a set that leaves first. Keys without a score yet come after those that have one.
  struct Candidate {
    bool unscored = false;
    double score = 0;
    int64_t position = -1;  // none
    size_t set = 0;
    auto order() const { return std::tuple(position < 0, unscored, score, position, set); }
  };

  int64_t scored_end(const kernels::ScanStep& step, size_t set) const {
    return std::min(scorers_[set]->scored_end(step.position + 1), step.position + 1 - splits_[set].recent);
  }

  static double score_of(kernels::SlotSet& set, int64_t column) {
    return ordered(set.scores()[static_cast<size_t>(column)]);
  }

  /// The cut after a prompt: head h keeps round(n_h (1 - floor) + floor heavy) of the keys in between, n_h of
  /// the layer's best being its own.
  int64_t cut(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets) {
    std::vector<Candidate> all;
    int64_t heavy = 0;
    for (size_t i = 0; i < sets.size(); ++i) {
      heavy += splits_[i].heavy;
      for (int64_t c = 0; c < sets[i].columns(); ++c) {
        const int64_t position = sets[i].position(c);
        if (position < splits_[i].sinks || position >= step.position + 1 - splits_[i].recent) continue;
        all.push_back({position >= scored_end(step, i), score_of(sets[i], c), position, i});
      }
    }
    const auto best = all.begin() + std::min<std::ptrdiff_t>(heavy, std::ssize(all));
    std::partial_sort(all.begin(), best, all.end(),
                      [](const Candidate& a, const Candidate& b) { return a.order() > b.order(); });
    std::vector<int64_t> own(sets.size());
    std::for_each(all.begin(), best, [&](const Candidate& one) { ++own[one.set]; });
    int64_t dropped = 0;
    for (size_t i = 0; i < sets.size(); ++i) {
      const auto share = std::llround(static_cast<double>(own[i]) * (1 - floor_) +
                                      floor_ * static_cast<double>(splits_[i].heavy));
      const int64_t excess = sets[i].kept() - splits_[i].sinks - splits_[i].recent - share;
      if (excess > 0) dropped += drop_lowest(*scorers_[i], splits_[i], step, sets[i], excess);
    }
    return dropped;
  }

  /// One key after the other, the lowest score of the heads that hold more than their floor.
  void drop(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets, int64_t count) {
    std::vector<Candidate> lowest;
    for (size_t i = 0; count > 0 && i < sets.size(); ++i) lowest.push_back(first_to_leave(step, sets, i));
    for (; count > 0; --count) {
      Candidate& least = *std::ranges::min_element(lowest, {}, &Candidate::order);
      if (least.position < 0) return;
      sets[least.set].drop(sets[least.set].column_of(least.position));
      least = first_to_leave(step, sets, least.set);
    }
  }

  Candidate first_to_leave(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets, size_t i) const {
    const Split& split = splits_[i];
    kernels::SlotSet& set = sets[i];
    const auto safe = static_cast<int64_t>(std::llround(floor_ * static_cast<double>(split.heavy)));
    if (set.kept() <= split.sinks + split.recent + safe) return {.set = i};
    const int64_t scored = set.lowest(split.sinks, scored_end(step, i));
    const int64_t column = scored >= 0 ? scored : set.lowest(split.sinks, step.position + 1 - split.recent);
    if (column < 0) return {.set = i};
    return {scored < 0, score_of(set, column), set.position(column), i};
  }

  std::vector<Split> splits_;
  double floor_;
  int64_t total_ = 0;
  bool held_back_ = false;  // no key could leave at the last step
  std::vector<std::unique_ptr<Scorer>> scorers_;
};

}  // namespace

std::unique_ptr<kernels::EvictionRule> share_budget(const RuleContext& context, MakeScorer scorer) {
  return std::make_unique<SharedBudget>(context, scorer);
}

PolicyInfo adakv_policy() {
  return {.name = "adakv",
          .summary = "the heads of a layer share one budget, by the scores of another policy (adakv:<name>)",
          .citation = "Feng et al. 2024, arXiv 2407.11550",
          .grain = Grain::layer,
          .rule = [](const RuleContext& context) { return share_budget(context, &snapkv_scorer); },
          .metadata = &snapkv_metadata,
          .observation = true};
}

}  // namespace kvviz::policy
