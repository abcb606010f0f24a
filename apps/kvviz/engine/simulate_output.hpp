// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/report/result.hpp"

namespace kvviz {

/// Perplexity with the full cache, and the policy to ship at each budget: the one that loses least among
/// those that do not read the future.
std::vector<Fact> simulate_facts(const analysis::SimulationStudy& study);

}  // namespace kvviz
