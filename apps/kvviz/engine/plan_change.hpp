// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "kvviz/engine/cache_plan.hpp"
#include "kvviz/engine/cache_trials.hpp"

namespace kvviz {

/// What is coded; the other side is kept in f16.
enum class CodedSides { both, keys, values };

/// The trials of plans, one each, in their order. The policies of all plans choose what they keep of a prefix
/// in one run of it (a prefill with the full cache, cut once after its last token), which the trials keep:
/// they are of one text. Plans are for all layers, or for as many as there are.
std::vector<CacheTrial> plan_trials(const Decoder& decoder, std::span<const CachePlan> plans,
                                    CodedSides sides, const policy::PolicyOptions& policies);

/// The keys and values of a cache by a plan without evictions, layer by layer.
std::vector<ChangedLayer> coded_layers(std::span<const LayerKv> layers, const CachePlan& plan,
                                       CodedSides sides);

}  // namespace kvviz
