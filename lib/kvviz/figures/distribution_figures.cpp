// SPDX-License-Identifier: MIT
#include "kvviz/figures/distribution_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace kvviz::figures {
namespace {

using analysis::DistributionResult;
using analysis::LayerDistribution;
using Layers = std::vector<LayerDistribution>;

struct Side {
  const char *name, *title;  ///< "keys", "Keys"
  const Layers& layers;
  const analysis::LegacyHistogram& legacy;
  double threshold;
  plot::Colour colour;
};

plot::Reference threshold_line(double threshold) {
  return {plot::Reference::Direction::vertical, threshold, fmt::format("legacy threshold {:.4g}", threshold),
          plot::colours::text};
}

constexpr double kLeftOut =
    0.01;  // percent of the elements, the smallest, that the axes of magnitudes leave out

/// The edge below which so many of all keys and values lie.
std::optional<double> first_shown(const DistributionResult& result) {
  double elements = 0, below = 0;
  std::vector<double> counts(result.log_edges.empty() ? 0 : result.log_edges.size() - 1, 0.0);
  for (const Layers* layers : {&result.key, &result.value})
    for (const LayerDistribution& layer : *layers) {
      elements += static_cast<double>(layer.elements);
      for (size_t i = 0; i < counts.size(); ++i) counts[i] += static_cast<double>(layer.counts[i]);
    }
  for (size_t i = 0; i < counts.size(); ++i)
    if (below += counts[i]; below > kLeftOut / 100 * elements) return std::pow(10.0, result.log_edges[i]);
  return {};
}

plot::Axis magnitudes(const DistributionResult& result) {
  return {.label = "|x|", .scale = plot::Scale::log10, .min = first_shown(result)};
}

plot::Panel pooled(const DistributionResult& result, const Side& side) {
  plot::Histogram histogram;
  for (const double edge : result.log_edges) histogram.edges.push_back(std::pow(10.0, edge));
  std::vector<double> shares(result.log_edges.empty() ? 0 : result.log_edges.size() - 1, 0.0);
  double elements = 0, zeros = 0;
  for (const LayerDistribution& layer : side.layers) {
    elements += static_cast<double>(layer.elements), zeros += static_cast<double>(layer.zeros);
    for (size_t i = 0; i < shares.size(); ++i) shares[i] += static_cast<double>(layer.counts[i]);
  }
  for (double& share : shares) share = elements > 0 ? 100 * share / elements : 0;
  histogram.groups = {{fmt::format("{} (all layers)", side.name), std::move(shares), side.colour}};
  plot::Panel panel;
  panel.title = fmt::format("{}: magnitudes of all layers", side.title);
  if (zeros > 0)
    panel.note =
        fmt::format("{:.3g} % of the elements are exactly 0 and lie in no bin.", 100 * zeros / elements);
  panel.x = magnitudes(result);
  panel.y = {.label = "elements per bin [%]"};
  if (!result.log_edges.empty()) panel.marks.emplace_back(std::move(histogram));
  panel.marks.emplace_back(threshold_line(side.threshold));
  return panel;
}

plot::Panel by_layer(const DistributionResult& result, const Side& side) {
  std::vector<MatrixEntry> entries;
  for (const LayerDistribution& layer : side.layers)
    for (size_t i = 0; i < layer.counts.size(); ++i)
      entries.push_back({layer.layer, static_cast<int64_t>(i),
                         layer.elements > 0 ? 100.0 * static_cast<double>(layer.counts[i]) /
                                                  static_cast<double>(layer.elements)
                                            : 0.0});
  plot::Heatmap map = matrix(entries, "elements per bin [%]");
  if (result.log_edges.size() > 1) {
    map.dx = result.log_edges[1] - result.log_edges[0];
    map.x0 = result.log_edges[0] + map.dx / 2;
  }
  map.decimals = -1;
  plot::Panel panel =
      layer_panel(fmt::format("{}: magnitudes layer by layer", side.title), "|x|", std::move(map));
  panel.x = magnitudes(result);
  return panel;
}

plot::Panel legacy(const Side& side) {
  plot::Histogram histogram{side.legacy.edges, {{side.name, {}, side.colour}}};
  for (const int64_t count : side.legacy.counts)
    histogram.groups[0].counts.push_back(static_cast<double>(count));
  plot::Panel panel;
  panel.title = fmt::format("legacy, {}: equal bins", side.name);
  const std::vector<double>& edges = side.legacy.edges;
  if (edges.size() > 1 && side.threshold < edges[1])
    panel.note = "The threshold lies inside the first bin: this histogram cannot show it.";
  panel.x = {.label = "|x|"};
  panel.y = {.label = "elements per bin", .scale = plot::Scale::log10};
  panel.marks.emplace_back(std::move(histogram));
  panel.marks.emplace_back(threshold_line(side.threshold));
  return panel;
}

}  // namespace

std::vector<NamedFigure> distribution_figures(const DistributionResult& result) {
  const Side keys{"keys", "Keys", result.key, result.legacy_key, result.thresholds.k, plot::colours::key};
  const Side values{
      "values", "Values", result.value, result.legacy_value, result.thresholds.v, plot::colours::value};
  plot::Figure figure;
  figure.title = "How large are the elements of the cache?";
  figure.columns = 2;
  figure.height = 1250;
  figure.caption =
      fmt::format("Logarithmic axes begin where at most {:g} % of the elements lie below.", kLeftOut);
  figure.panels = {pooled(result, keys),     pooled(result, values), by_layer(result, keys),
                   by_layer(result, values), legacy(keys),           legacy(values)};
  return {{"weight_magnitude_distribution", std::move(figure)}};
}

}  // namespace kvviz::figures
