// SPDX-License-Identifier: MIT
#include "kvviz/stats/complete_linkage.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"

namespace kvviz::stats {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Groups that stand at their first item, and for each the later one that it is most similar to.
class Groups {
 public:
  Groups(std::span<const double> similarity, int64_t items)
      : items_(items), alike_(similarity.begin(), similarity.end()), alive_(items, true), best_(items, -1) {
    // The minimum of a NaN depends on its place: none stays.
    for (double& value : alike_) value = std::isnan(value) ? kNever : value;
    for (int64_t i = 0; i < items; ++i) find_best(i);
  }

  /// The most similar pair, the first among equals; similarity kNever when there is none.
  Merge closest() const {
    Merge merge{.similarity = kNever};
    for (int64_t i = 0; i < items_; ++i) {
      if (!alive_[i] || best_[i] < 0 || at(i, best_[i]) <= merge.similarity) continue;
      merge = {i, best_[i], at(i, best_[i])};
    }
    return merge;
  }

  void join(const Merge& merge) {
    alive_[merge.right] = false;
    for (int64_t k = 0; k < items_; ++k) {
      const double least = std::min(at(merge.left, k), at(merge.right, k));
      alike_[merge.left * items_ + k] = alike_[k * items_ + merge.left] = least;
    }
    // Joining only lowers similarities: another group's best stays unless it was one of these two.
    for (int64_t i = 0; i < merge.right; ++i)
      if (alive_[i] && (i == merge.left || best_[i] == merge.left || best_[i] == merge.right)) find_best(i);
  }

 private:
  double at(int64_t i, int64_t j) const { return alike_[i * items_ + j]; }

  void find_best(int64_t i) {
    best_[i] = -1;
    double most = kNever;
    for (int64_t j = i + 1; j < items_; ++j) {
      if (!alive_[j] || at(i, j) <= most) continue;
      most = at(i, j);
      best_[i] = j;
    }
  }

  int64_t items_;
  std::vector<double> alike_;
  std::vector<bool> alive_;
  std::vector<int64_t> best_;
};

}  // namespace

std::vector<Merge> merge_tree(std::span<const double> similarity, int64_t items, double least) {
  require(std::ssize(similarity) == items * items, "[complete_linkage] got ", similarity.size(),
          " similarities; expected ", items, " x ", items);
  std::vector<Merge> merges;
  Groups groups(similarity, items);
  for (;;) {
    const Merge merge = groups.closest();
    if (merge.similarity == kNever || merge.similarity < least) return merges;
    merges.push_back(merge);
    groups.join(merge);
  }
}

std::vector<std::vector<int64_t>> groups_at(std::span<const Merge> merges, int64_t items, double threshold) {
  std::vector<std::vector<int64_t>> groups(items);
  for (int64_t i = 0; i < items; ++i) groups[i] = {i};
  for (const Merge& merge : merges) {
    if (!(merge.similarity >= threshold)) break;
    groups[merge.left].insert(groups[merge.left].end(), groups[merge.right].begin(),
                              groups[merge.right].end());
    groups[merge.right].clear();
  }
  std::erase_if(groups, [](const auto& group) { return group.empty(); });
  for (auto& group : groups) std::ranges::sort(group);
  return groups;
}

std::vector<std::vector<int64_t>> complete_linkage(std::span<const double> similarity, int64_t items,
                                                   double threshold) {
  return groups_at(merge_tree(similarity, items, threshold), items, threshold);
}

}  // namespace kvviz::stats
