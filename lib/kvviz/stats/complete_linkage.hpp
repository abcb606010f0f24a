// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace kvviz::stats {

/// Disjoint groups of items by complete linkage (Sorensen, Biol. Skr. 5, 1948): the two groups whose least
/// similar members are most similar are joined, as long as these are at least `threshold` alike. So every
/// pair within a group is. `similarity` is symmetric, row-major [items, items]; the diagonal is not read; NaN
/// is no similarity. Groups by their first item, items ascending, lone items as groups of one. Ties: the
/// first pair. O(items^3) at worst.
std::vector<std::vector<int64_t>> complete_linkage(std::span<const double> similarity, int64_t items,
                                                   double threshold);

}  // namespace kvviz::stats
