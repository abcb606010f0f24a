// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/figures/attention_figures.hpp"
#include "kvviz/figures/channels_figures.hpp"
#include "kvviz/figures/distribution_figures.hpp"
#include "kvviz/figures/generation_figures.hpp"
#include "kvviz/figures/heads_figures.hpp"
#include "kvviz/figures/layers_figures.hpp"
#include "kvviz/figures/sink_figures.hpp"
#include "kvviz/figures/tokens_figures.hpp"

namespace kvviz::synthetic {

/// The sizes of a made-up cache.
struct Shape {
  int layers = 28, heads = 8;
  int64_t tokens = 512;
  int head_dim = 128;
};

/// Result structs with numbers like those of a real cache (a sink at token 0, outlier channels, heads of all
/// kinds), written down directly: no analysis runs.
analysis::LayersResult layers(const Shape& shape);
analysis::HeadsResult heads(const Shape& shape);
analysis::DistributionResult distribution(const Shape& shape);
analysis::ChannelsResult channels(const Shape& shape);
analysis::TokensResult tokens(const Shape& shape);
analysis::AttentionResult attention(const Shape& shape);
std::vector<figures::AttentionMap> maps(const Shape& shape, size_t count);
analysis::GenerationStudy generation(const Shape& shape);
std::vector<figures::NamedFigure> sinks(const Shape& shape);
std::vector<std::string> texts(const Shape& shape);

/// Every figure of the catalogue.
std::vector<figures::NamedFigure> catalogue(const Shape& shape);

}  // namespace kvviz::synthetic
