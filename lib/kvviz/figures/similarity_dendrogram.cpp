// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "kvviz/figures/similarity_parts.hpp"

namespace kvviz::figures {
namespace {

using analysis::Grouping;
using analysis::Half;

constexpr int64_t kNamed = 80;    // leaves that carry their names
constexpr double kUnrelated = 1;  // height of merges that chance explains

/// A tree (or several, joined at the top, where items cannot be compared) drawn from left to right without
/// lifting the pen.
struct Drawing {
  std::vector<int64_t> order;  ///< items as the leaves stand
  std::vector<double> x, y;
};

class Pen {
 public:
  explicit Pen(const Grouping& tree) : tree_(tree), node_of_(tree.items), joined_(tree.merges.size()) {
    // Node i < items is an item, items + m the group of merge m.
    for (int64_t i = 0; i < tree.items; ++i) node_of_[i] = i;
    std::vector<bool> inside(tree.items + std::ssize(tree.merges));
    for (int64_t m = 0; m < std::ssize(tree.merges); ++m) {
      const auto& merge = tree.merges[m];
      joined_[m] = {node_of_[merge.left], node_of_[merge.right]};
      inside[joined_[m].left] = inside[joined_[m].right] = true;
      node_of_[merge.left] = tree.items + m;
    }
    for (int64_t node = 0; node < std::ssize(inside); ++node)
      if (!inside[node]) roots_.push_back(node);
  }

  Drawing draw() {
    std::vector<double> at(tree_.items + std::ssize(tree_.merges));
    for (const int64_t root : roots_) place(root, at);
    for (const int64_t root : roots_) trace(root, at);
    return std::move(drawing_);
  }

 private:
  struct Children {
    int64_t left = 0, right = 0;
  };
  bool leaf(int64_t node) const { return node < tree_.items; }
  const Children& children(int64_t node) const { return joined_[node - tree_.items]; }
  double height(int64_t node) const {
    return leaf(node) ? 0 : std::clamp(1 - tree_.merges[node - tree_.items].similarity, 0.0, kUnrelated);
  }

  // Trees may be as deep as there are items: no recursion.
  void place(int64_t root, std::vector<double>& at) {
    std::vector<std::pair<int64_t, bool>> open{{root, false}};
    while (!open.empty()) {
      const auto [node, done] = open.back();
      open.pop_back();
      if (leaf(node)) {
        at[node] = static_cast<double>(drawing_.order.size());
        drawing_.order.push_back(node);
      } else if (done) {
        at[node] = (at[children(node).left] + at[children(node).right]) / 2;
      } else {
        open.push_back({node, true});
        open.push_back({children(node).right, false});
        open.push_back({children(node).left, false});
      }
    }
  }

  void point(double x, double y) {
    drawing_.x.push_back(x);
    drawing_.y.push_back(y);
  }

  /// From the top of a node around all below it and back.
  void trace(int64_t root, const std::vector<double>& at) {
    struct Step {
      int64_t node;
      int stage;
    };
    std::vector<Step> open{{root, 0}};
    if (roots_.size() > 1) point(at[root], kUnrelated);
    point(at[root], height(root));
    while (!open.empty()) {
      auto& [node, stage] = open.back();
      if (leaf(node) || stage == 2) {
        if (!leaf(node)) point(at[node], height(node));
        open.pop_back();
        if (open.empty()) break;
        const auto& [parent, parent_stage] = open.back();
        const int64_t child = parent_stage == 1 ? children(parent).left : children(parent).right;
        point(at[child], height(parent));
        continue;
      }
      const int64_t child = stage++ == 0 ? children(node).left : children(node).right;
      point(at[child], height(node));
      point(at[child], height(child));
      open.push_back({child, 0});
    }
    if (roots_.size() > 1) point(at[root], kUnrelated);
  }

  const Grouping& tree_;
  std::vector<int64_t> node_of_, roots_;
  std::vector<Children> joined_;
  Drawing drawing_;
};

plot::Panel tree_panel(const analysis::SimilarityResult& result, Half half) {
  const Grouping& tree = result.side(half).heads;
  Drawing drawing = Pen(tree).draw();
  plot::Panel panel;
  panel.title = grouped(half, tree, "KV heads");
  panel.x = {.label = "place in the order of the tree",
             .whole = true,
             .min = -1,
             .max = static_cast<double>(tree.items)};
  if (tree.items <= kNamed) {
    panel.x.label = "KV head (layer.head), in the order of the tree";
    for (const int64_t item : drawing.order)
      panel.x.names.push_back(fmt::format("{}.{}", result.heads[item].layer, result.heads[item].head));
  }
  panel.y = {.label = "1 - CKA above chance", .min = 0, .max = 1.05};
  panel.marks.emplace_back(
      plot::Lines{{{.x = std::move(drawing.x),
                    .y = std::move(drawing.y),
                    .colour = half == Half::key ? plot::colours::key : plot::colours::value,
                    .marker = plot::Marker::none,
                    .width = tree.items > 64 ? 0.6 : 1}}});
  panel.marks.emplace_back(plot::Reference{
      .at = 1 - tree.threshold,
      .label = fmt::format("joined below this are a group (CKA above chance {:g})", tree.threshold),
      .colour = plot::colours::sink});
  return panel;
}

}  // namespace

plot::Figure dendrogram_figure(const analysis::SimilarityResult& result) {
  plot::Figure figure;
  figure.title = "Which KV heads see tokens alike";
  figure.panels = {tree_panel(result, Half::key), tree_panel(result, Half::value)};
  figure.width = 1800;
  figure.caption = fmt::format(
      "Complete linkage: heads are joined at the height of their two least similar members. What chance "
      "explains stands at 1.{}",
      rope_caption(result));
  return figure;
}

}  // namespace kvviz::figures
