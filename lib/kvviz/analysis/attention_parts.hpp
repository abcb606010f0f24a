// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/analysis/attention.hpp"

namespace kvviz::analysis {

/// Keys that query i of the layer sees.
int64_t visible_keys(const AttentionLayer& layer, int64_t query);

/// [keys] queries that see each key.
std::vector<int64_t> exposures(const AttentionLayer& layer);

/// Fills `received` and `value_weighted` of a query head.
void fill_keys(const AttentionLayer& layer, const kernels::HeadAttention& measured,
               std::span<const int64_t> exposed, AttentionHead& head);

/// Puts vectors of one length together, element by element; NaN elements are left out (all NaN: NaN). No
/// vectors: empty.
std::vector<double> aggregate(const std::vector<const std::vector<double>*>& vectors, GqaAggregate how);
double aggregate(const std::vector<double>& values, GqaAggregate how);

/// Mean over vectors of different lengths aligned at their ends, NaN left out.
std::vector<double> mean_from_the_end(const std::vector<const std::vector<double>*>& vectors);

/// AttentionResult::ranking of a result whose `received` is filled.
std::vector<int64_t> ranking(const AttentionResult& result, std::span<const AttentionLayer> layers,
                             int64_t least_exposure);

/// The first keys of the ranking.
std::vector<TopKey> heaviest(const AttentionResult& result, int64_t count);

}  // namespace kvviz::analysis
