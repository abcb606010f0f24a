// SPDX-License-Identifier: MIT
#include "kvviz/figures/over_texts_figures.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace kvviz::figures {
namespace {

constexpr plot::Colour point_colour = plot::colours::key;
constexpr plot::Colour mean_colour{0xd55e00};

/// Columns of a grid that is about as wide as high, or of one row where that is enough.
int columns_for(size_t panels, int most) {
  if (panels <= static_cast<size_t>(most)) return static_cast<int>(panels);
  return std::clamp(static_cast<int>(std::ceil(std::sqrt(static_cast<double>(panels)))), 1, most);
}

int rows_for(size_t panels, int columns) {
  return (static_cast<int>(panels) + columns - 1) / columns;
}

plot::Panel number_panel(const TextNumbers& numbers) {
  plot::Panel panel;
  panel.title = numbers.title;
  panel.x = {.label = "text", .whole = true};
  panel.y = {.label = numbers.y_label};
  const auto [first, last] = std::ranges::minmax(numbers.text);
  panel.x.min = first - 0.5, panel.x.max = last + 0.5;
  if (std::isfinite(numbers.low)) {
    const double low = std::max(numbers.low, numbers.least.value_or(numbers.low)),
                 high = std::min(numbers.high, numbers.most.value_or(numbers.high));
    panel.marks.emplace_back(plot::Band{.label = "",
                                        .x = {first - 0.5, last + 0.5},
                                        .low = {low, low},
                                        .high = {high, high},
                                        .colour = mean_colour});
  }
  panel.marks.emplace_back(plot::Lines{{{.label = "",
                                         .x = numbers.text,
                                         .y = numbers.values,
                                         .colour = point_colour,
                                         .stroke = plot::Stroke::points}}});
  if (std::isfinite(numbers.mean))
    panel.marks.emplace_back(plot::Reference{.at = numbers.mean, .label = "", .colour = mean_colour});
  return panel;
}

plot::Panel curve_panel(const LayerCurves& curves) {
  plot::Panel panel;
  panel.title = curves.title;
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = curves.y_label};
  plot::Lines lines;
  for (const LayerCurves::Curve& curve : curves.curves) {
    plot::Band band{.label = "", .x = {}, .low = {}, .high = {}, .colour = curve.colour};
    for (size_t i = 0; i < curve.layer.size(); ++i) {
      if (!std::isfinite(curve.mean[i]) || !std::isfinite(curve.sd[i])) continue;
      band.x.push_back(curve.layer[i]);
      band.low.push_back(curve.mean[i] - curve.sd[i]);
      band.high.push_back(curve.mean[i] + curve.sd[i]);
    }
    if (!band.x.empty()) panel.marks.emplace_back(std::move(band));
    lines.series.push_back({.label = curve.label, .x = curve.layer, .y = curve.mean, .colour = curve.colour});
  }
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

plot::Panel head_panel(const HeadSpread& head, const std::string& what, const std::vector<MatrixEntry>& z) {
  plot::Heatmap map = matrix(z, head.z_label);
  map.decimals = decimals_for(map.z);
  if (what == "mean" && head.least) map.z_min = *head.least;
  if (what == "mean" && head.most) map.z_max = *head.most;
  return layer_panel(head.title + ": " + what, head.x_label, std::move(map));
}

}  // namespace

NamedFigure text_numbers_figure(std::span<const TextNumbers> numbers) {
  plot::Figure figure;
  figure.title = "The texts one by one";
  figure.columns = columns_for(numbers.size(), 4);
  figure.width = std::max(900, 480 * figure.columns);
  figure.height = 140 + 300 * rows_for(numbers.size(), figure.columns);
  figure.legend = {{"a text", point_colour},
                   {"mean over texts and its 95 % confidence interval", mean_colour}};
  for (const TextNumbers& one : numbers) figure.panels.push_back(number_panel(one));
  const auto clipped = [](const TextNumbers& n) {
    return n.low < n.least.value_or(n.low) || n.high > n.most.value_or(n.high);
  };
  if (std::ranges::any_of(numbers, clipped))
    figure.caption = "Intervals are clipped to the values that a number can have.";
  return {"batch/facts", std::move(figure)};
}

NamedFigure layer_curves_figure(std::span<const LayerCurves> panels) {
  plot::Figure figure;
  figure.title = "Layer by layer: mean and spread over the texts";
  figure.columns = columns_for(panels.size(), 3);
  figure.width = std::max(900, 560 * figure.columns);
  figure.height = 140 + 360 * rows_for(panels.size(), figure.columns);
  figure.caption = "Lines: mean over texts. Bands: one standard deviation over texts to both sides.";
  for (const LayerCurves& one : panels) figure.panels.push_back(curve_panel(one));
  return {"batch/layers", std::move(figure)};
}

NamedFigure head_spread_figure(std::span<const HeadSpread> heads) {
  const auto has_number = [](const MatrixEntry& entry) { return std::isfinite(entry.value); };
  const bool spread = std::ranges::any_of(
      heads, [&](const HeadSpread& head) { return std::ranges::any_of(head.sd, has_number); });
  plot::Figure figure;
  figure.title = spread ? "Every head: mean and spread over the texts" : "Every head";
  for (const HeadSpread& one : heads) {
    figure.panels.push_back(head_panel(one, "mean", one.mean));
    if (spread) figure.panels.push_back(head_panel(one, "sd", one.sd));
  }
  if (spread)
    figure.caption = "Left of each pair the mean over texts, right the standard deviation over texts.";
  figure.columns = spread && heads.size() > 1 ? 4 : 2;
  figure.width = 500 * figure.columns;
  figure.height = 140 + 400 * rows_for(figure.panels.size(), figure.columns);
  return {"batch/heads", std::move(figure)};
}

}  // namespace kvviz::figures
