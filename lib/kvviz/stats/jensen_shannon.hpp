// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace kvviz::stats {

/// 1 - sqrt(JSD) of every pair of distributions, JSD the Jensen-Shannon divergence in bits (Lin, IEEE Trans.
/// Inf. Theory 37, 1991), whose root is a metric (Endres & Schindelin, ibid. 49, 2003): 1 for equal ones, 0
/// where they share no cell. `distributions` are [items, cells], each scaled to sum 1 here; kNone for one
/// without mass. Row-major [items, items]. items^2 / 2 x cells logarithms, in parallel.
std::vector<double> jensen_shannon_similarity(std::span<const double> distributions, int64_t items);

}  // namespace kvviz::stats
