// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

namespace kvviz::analysis {

/// The Pareto set of points with a cost and a loss, both better when lower: true where no other point has as
/// little cost or less and a lower loss, or less cost and the same loss. Of equal points the first; points
/// whose cost or loss is not finite are left out. Costs and losses are equally many.
std::vector<bool> pareto_set(std::span<const double> costs, std::span<const double> losses);

}  // namespace kvviz::analysis
