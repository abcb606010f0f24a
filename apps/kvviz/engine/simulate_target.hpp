// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/engine/simulate_run.hpp"

namespace kvviz {

/// "delta_ppl<1%": a measure, a comparison, a number.
struct LossLimit {
  std::string text, measure;
  bool above = false;    ///< the measure has to be above the number
  bool percent = false;  ///< of the full cache's perplexity (delta_ppl), or of 1
  double number = 0;
};
/// Throws UsageError naming the measures there are.
LossLimit parse_limit(const std::string& text);

/// For each policy of `simulations` but full: the smallest budget, in keys per set, whose loss over the
/// second half of every text (or from --score-from on) is within the limit. Bisection between 1 key and half
/// of the shortest text: exact where the loss falls with the budget, else one budget at which it crosses the
/// limit. Policies are searched side by side, log2(tokens / 2) + 1 passes.
std::vector<analysis::TargetBudget> find_targets(const Runner& runner, std::span<const TextInput> texts,
                                                 std::span<const Simulation> simulations,
                                                 const LossLimit& limit, const SimulateOptions& options);

}  // namespace kvviz
