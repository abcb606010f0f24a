// SPDX-License-Identifier: MIT
#pragma once
#include <string>

#include "kvviz/analysis/tucker_study.hpp"
#include "kvviz/plot/figure.hpp"

namespace kvviz::figures {

/// "keys before RoPE", "keys after RoPE", "keys" in a model without.
std::string keys_label(const analysis::TuckerStudy& study, KeyBasis basis);

/// The ranks asked for as they were used, "4 x 16 x 8-12": heads, tokens, channels; ranges over layers.
std::string ranks_label(const analysis::TuckerStudy& study);

plot::Figure tucker_components(const analysis::TuckerStudy& study);
plot::Figure tucker_error_curves(const analysis::TuckerStudy& study);
plot::Figure tucker_rank_sensitivity(const analysis::TuckerStudy& study);  ///< of a sweep
plot::Figure tucker_frontier(const analysis::TuckerStudy& study);          ///< of a sweep

}  // namespace kvviz::figures
