// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/pruning.hpp"
#include "kvviz/engine/cache_trials.hpp"

namespace kvviz {

/// Names of what sweep_metrics() measures.
std::vector<std::string> metric_names(analysis::SweepKind kind);

/// For each item, in the order of metric_names(): numbers of the analyses of `kvviz analyze`, of the prefix
/// of each text (of its first window) with the cache as it is, and the RMS of the attention output; means
/// over the texts. Nothing is removed. One prefill a text.
std::vector<std::vector<double>> sweep_metrics(const Runner& runner, std::span<const TextInput> texts,
                                               std::span<const analysis::SweepItem> items,
                                               analysis::SweepKind kind, const TrialOptions& trials);

}  // namespace kvviz
