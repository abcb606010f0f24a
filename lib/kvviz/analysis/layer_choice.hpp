// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/cache_outcome.hpp"

namespace kvviz::analysis {

/// What a layer costs and loses by each of the methods it may take.
struct LayerOptions {
  std::vector<double> bytes, losses;  ///< one entry a method
};

/// Choices of one method a layer, [choice][layer], from the least loss to the fewest bytes: those with the
/// least sum of losses for their sum of bytes that some trade of bytes against loss finds (the lower convex
/// hull of all choices, Everett, Oper. Res. 11, 1963). Neighbours differ in one layer. Entries that are not
/// finite are never chosen; a layer without finite entries makes the result empty. Losses of layers are taken
/// to add up, which is for the caller to measure. O(layers methods log).
std::vector<std::vector<size_t>> layer_choices(std::span<const LayerOptions> layers);

/// One layer of a recommendation.
struct RecommendedLayer {
  int layer = 0;
  std::string method;
  double bytes_per_token = 0;
  double delta_nll = kNone;  ///< nats, with this layer alone coded; measured
};

/// A method for each layer.
struct Recommendation {
  double limit_percent = 0;  ///< of the perplexity
  std::vector<RecommendedLayer> layers;
  CacheOutcome outcome;          ///< of all layers together, measured
  std::string uniform;           ///< the smallest single method within the limit; empty: none
  double uniform_bytes = kNone;  ///< per token
};

}  // namespace kvviz::analysis
