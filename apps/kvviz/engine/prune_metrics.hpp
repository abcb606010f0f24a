// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/pruning.hpp"
#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// Names of what sweep_metrics() measures.
std::vector<std::string> metric_names(analysis::SweepKind kind);

/// For each item, in the order of metric_names(): numbers of the analyses of `kvviz analyze`, of the prefix
/// of a text with the cache as it is, and the RMS of the attention output. Nothing is removed. One prefill.
std::vector<std::vector<double>> sweep_metrics(const Decoder& decoder, std::span<const int32_t> prefix,
                                               std::span<const analysis::SweepItem> items,
                                               analysis::SweepKind kind);

}  // namespace kvviz
