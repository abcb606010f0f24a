// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "kvviz/engine/compress_study.hpp"

namespace kvviz {

/// A method for each layer, for at most --recommend % more perplexity: every method of the study's frontier
/// that works on one layer is tried in each layer alone; analysis::layer_choices() combines them by their
/// losses; of these the smallest whose measured CacheOutcome::change_percent() is within the limit is found
/// by bisection. Costs (methods x layers) trials on every text and a few more. Absent when nothing is within
/// the limit.
std::optional<analysis::Recommendation> recommend(const Runner& runner, std::span<const TextInput> texts,
                                                  const analysis::CompressionStudy& study,
                                                  std::span<const CachePlan> plans,
                                                  const CompressOptions& options);

/// The recommendation for other programs: `method` is what --method takes.
nlohmann::ordered_json recommendation_json(const analysis::Recommendation& recommendation,
                                           const SubjectOrigin& origin);

}  // namespace kvviz
