// SPDX-License-Identifier: MIT
#pragma once
#include <limits>
#include <vector>

#include "kvviz/policy/policy.hpp"

namespace kvviz::policy {

/// A score as SlotSet::lowest() orders it: NaN is the highest.
inline double ordered(double score) {
  return score == score ? score : std::numeric_limits<double>::infinity();
}

/// Drops the `count` keys with the lowest scores among the positions [begin, end), all by the same scores;
/// equal scores: the lowest position first. Returns how many there were.
int64_t drop_lowest(kernels::SlotSet& set, int64_t count, int64_t begin, int64_t end);

/// Drops the `count` keys with the lowest scores that are neither sinks nor recent; those without a score yet
/// only when there are no others. Returns how many there were.
int64_t drop_lowest(const Scorer& scorer, const Split& split, const kernels::ScanStep& step,
                    kernels::SlotSet& set, int64_t count);

/// Each slot set by itself: whenever it holds more than its budget, the keys with the lowest scores leave.
std::unique_ptr<kernels::EvictionRule> keep_best(const RuleContext& context, MakeScorer scorer);

/// Scores of all sets compete for one budget (adakv.cpp).
std::unique_ptr<kernels::EvictionRule> share_budget(const RuleContext& context, MakeScorer scorer);

}  // namespace kvviz::policy
