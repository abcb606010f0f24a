// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/generation_study.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// Parts of the attention of a generated token, beside the sink colour of the first token.
inline constexpr plot::Colour prompt_colour{0x56b4e9}, generated_colour{0x009e73}, self_colour{0xe69f00};

/// tokens/generation_stages_comparison: sparsity, scale and drift at each stage.
NamedFigure generation_figure(const analysis::GenerationStudy& study);

/// That figure; and where there are generated tokens generation/steps, generation/layers, and with policies
/// generation/policies and generation/bytes.
std::vector<NamedFigure> generation_figures(const analysis::GenerationStudy& study);

}  // namespace kvviz::figures
