// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/engine/simulate_run.hpp"

namespace kvviz {

/// A sentence hidden in the first text, at every depth and length, and a question at the end whose answer it
/// holds: how much of the needle each policy still holds when the answer begins, and what the model makes of
/// it. Pieces are tokenised once each and joined as ids. Throws UsageError when needle, question and answer
/// do not fit in a length, or the text is too short.
std::vector<analysis::NeedleCell> find_needle(const Runner& runner, const TextInput& text,
                                              std::span<const Simulation> simulations,
                                              const SimulateOptions& options);

}  // namespace kvviz
