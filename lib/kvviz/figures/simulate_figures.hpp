// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// Below simulate/: frontier, perplexity_by_budget, policies_panel, and where measured recall_by_layer,
/// output_error_by_layer, budget_by_layer (of policies that give sets unequal budgets), retention and
/// token_strip (one each for every budget, layer and KV head that the study has maps of: the second is
/// retention_2). Policies stand in the same order everywhere: those that can be shipped from the least loss
/// to the greatest, then the clairvoyant ones; `full` is the reference and stands only on the frontier.
/// `what`: model and text, before the study's own numbers in every subtitle.
std::vector<NamedFigure> simulate_figures(const analysis::SimulationStudy& study,
                                          const std::string& what = {});

/// Below simulate/: needle, needle_survival (a grid depth x length for every policy) and, where measured,
/// needle_survival_by_layer; again for every further budget (needle_2). `full` is the
/// reference and left out. `needle` shows how much of what the needle is worth to the full cache is left,
/// (log_p - log_p_absent) / (log_p_full - log_p_absent), within 0 and 1; grey: the needle does not help the
/// full cache. Order and marks of policies as in the study's other figures. No cells: no figures.
std::vector<NamedFigure> needle_figures(const analysis::SimulationStudy& study,
                                        std::span<const analysis::NeedleCell> cells,
                                        const std::string& what = {});

}  // namespace kvviz::figures
