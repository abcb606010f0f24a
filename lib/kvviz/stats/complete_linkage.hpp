// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace kvviz::stats {

/// Two groups that become one; each is named by its first item. The joined group is then `left`'s.
struct Merge {
  int64_t left = 0, right = 0;  ///< left < right
  double similarity = 0;        ///< of their two least similar members
};

/// The tree of complete linkage (Sorensen, Biol. Skr. 5, 1948): the two groups whose least similar members
/// are most similar are joined, again and again, as long as these are at least `least` alike. Similarities
/// descend; items - 1 merges make one group of all. `similarity` is symmetric, row-major [items, items]; the
/// diagonal is not read; NaN is no similarity and joins nothing. Ties: the first pair. O(items^2) as a rule,
/// O(items^3) at worst.
std::vector<Merge> merge_tree(std::span<const double> similarity, int64_t items,
                              double least = -std::numeric_limits<double>::infinity());

/// The disjoint groups that the merges of at least `threshold` make: every pair within a group is at least
/// that similar. Groups by their first item, items ascending, lone items as groups of one.
std::vector<std::vector<int64_t>> groups_at(std::span<const Merge> merges, int64_t items, double threshold);

/// groups_at() of the tree down to `threshold`.
std::vector<std::vector<int64_t>> complete_linkage(std::span<const double> similarity, int64_t items,
                                                   double threshold);

}  // namespace kvviz::stats
