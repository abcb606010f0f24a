// SPDX-License-Identifier: MIT
#include "kvviz/analysis/layer_choice.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kvviz::analysis {
namespace {

/// Going from one method of a layer to the next smaller one on its lower convex hull.
struct Step {
  size_t layer = 0, method = 0;
  double price = 0;  ///< loss a byte saved
};

/// Methods on the lower convex hull of (bytes, loss), from the least loss to the fewest bytes.
std::vector<size_t> hull_of(const LayerOptions& o) {
  std::vector<size_t> order;
  for (size_t m = 0; m < o.bytes.size(); ++m)
    if (std::isfinite(o.bytes[m]) && std::isfinite(o.losses[m])) order.push_back(m);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return o.losses[a] != o.losses[b] ? o.losses[a] < o.losses[b] : o.bytes[a] < o.bytes[b];
  });
  const auto price = [&](size_t from, size_t to) {
    return (o.losses[to] - o.losses[from]) / (o.bytes[from] - o.bytes[to]);
  };
  std::vector<size_t> hull;
  for (const size_t m : order) {
    if (!hull.empty() && o.bytes[m] >= o.bytes[hull.back()]) continue;
    while (hull.size() > 1 && price(hull[hull.size() - 2], hull.back()) >= price(hull.back(), m))
      hull.pop_back();
    hull.push_back(m);
  }
  return hull;
}

}  // namespace

std::vector<std::vector<size_t>> layer_choices(std::span<const LayerOptions> layers) {
  std::vector<size_t> choice;
  std::vector<Step> steps;
  for (size_t l = 0; l < layers.size(); ++l) {
    const std::vector<size_t> hull = hull_of(layers[l]);
    if (hull.empty()) return {};
    choice.push_back(hull.front());
    for (size_t i = 1; i < hull.size(); ++i) {
      const double loss = layers[l].losses[hull[i]] - layers[l].losses[hull[i - 1]];
      steps.push_back({l, hull[i], loss / (layers[l].bytes[hull[i - 1]] - layers[l].bytes[hull[i]])});
    }
  }
  std::ranges::stable_sort(steps, {}, &Step::price);  // convex: a layer's own steps stay in their order
  std::vector<std::vector<size_t>> choices{choice};
  for (const Step& step : steps) {
    choice[step.layer] = step.method;
    choices.push_back(choice);
  }
  return choices;
}

}  // namespace kvviz::analysis
