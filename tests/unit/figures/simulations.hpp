// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/analysis/simulation.hpp"

namespace kvviz::synthetic {

struct SimulationShape {
  int policies = 18, layers = 2, heads = 8, kv_heads = 4;
  std::vector<double> budgets{0.1, 0.25, 0.5};  ///< fractions
  int64_t tokens = 512;
};

/// A study whose numbers are plausible: less loss with more budget, policies that differ by factors, two that
/// keep evicted keys in memory, two with unequal budgets, two that read the future. The frontier is marked.
analysis::SimulationStudy simulation(const SimulationShape& shape);

/// A grid of depths x lengths for the first policies of simulation().
std::vector<analysis::NeedleCell> needles(int policies, int depths, int lengths);

}  // namespace kvviz::synthetic
