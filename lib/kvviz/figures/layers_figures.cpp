// SPDX-License-Identifier: MIT
#include "kvviz/figures/layers_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kvviz::figures {
namespace {

using analysis::LayerHalf;
using analysis::LayerRow;
using plot::Stroke;

template <class Get>
std::vector<double> column(const analysis::LayersResult& result, Get&& get) {
  std::vector<double> out;
  for (const LayerRow& row : result.rows) out.push_back(static_cast<double>(get(row)));
  return out;
}

/// Keys and values of one measure over the layers.
template <class Get>
plot::Lines key_and_value(const analysis::LayersResult& result, Get&& get) {
  const std::vector<double> x = column(result, [](const LayerRow& row) { return row.layer; });
  return {{{"keys", x, column(result, [&](const LayerRow& row) { return get(row.key); }), plot::colours::key},
           {"values", x, column(result, [&](const LayerRow& row) { return get(row.value); }),
            plot::colours::value}}};
}

plot::Panel over_layers(const std::string& title, const std::string& y_label, plot::Mark mark) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = y_label};
  panel.marks.push_back(std::move(mark));
  return panel;
}

plot::Panel rank_panel(const analysis::LayersResult& result) {
  plot::Panel panel =
      over_layers("Effective rank (mean over KV heads)", "directions in use",
                  key_and_value(result, [](const LayerHalf& half) { return half.effective_rank; }));
  panel.y.min = 0;
  int64_t bound = 0;
  for (const LayerRow& row : result.rows)
    bound = std::max(bound, std::min(row.tokens, std::max(row.head_dim, row.value_dim)));
  panel.marks.emplace_back(plot::Reference{.at = static_cast<double>(bound),
                                           .label = fmt::format("largest possible ({})", bound)});
  return panel;
}

plot::Panel cka_panel(const analysis::LayersResult& result) {
  const std::vector<double> x = column(result, [](const LayerRow& row) { return row.layer; });
  plot::Lines lines{
      {{"keys with values", x, column(result, [](const LayerRow& row) { return row.cka; }),
        plot::Colour{0x009e73}},
       {"by chance (random pairing)", x, column(result, [](const LayerRow& row) { return row.cka_chance; }),
        plot::colours::neutral, Stroke::dashed}}};
  plot::Panel panel = over_layers("Do keys and values see the same tokens as alike?", "linear CKA (0 .. 1)",
                                  std::move(lines));
  panel.y.min = 0;
  return panel;
}

plot::Panel scale_panel(const analysis::LayersResult& result) {
  plot::Lines lines = key_and_value(result, [](const LayerHalf& half) { return half.rms; });
  plot::Lines means = key_and_value(result, [](const LayerHalf& half) { return half.legacy.mean; });
  for (plot::Series& series : lines.series) series.label += ": RMS";
  for (plot::Series& series : means.series) {
    series.label += ": mean |x|";
    series.stroke = Stroke::dashed;
    lines.series.push_back(std::move(series));
  }
  plot::Panel panel = over_layers("Scale", "magnitude", std::move(lines));
  panel.y.scale = plot::Scale::log10;
  return panel;
}

std::string legacy_measure(const analysis::LegacyOptions& options) {
  return options.threshold > 0
             ? "share below a fixed magnitude"
             : fmt::format("share below {} % of the largest |x| of the cache", plain_number(options.percent));
}

plot::Panel legacy_sparsity(const analysis::LayersResult& result, const analysis::LegacyOptions& options) {
  plot::Panel panel =
      over_layers("legacy: " + legacy_measure(options), "share of elements",
                  key_and_value(result, [](const LayerHalf& half) { return half.legacy.sparsity; }));
  panel.y.min = 0;
  panel.note = "Mirrors the scale of a layer: one outlier moves all layers.";
  return panel;
}

plot::Panel legacy_correlation(const analysis::LayersResult& result) {
  const std::vector<double> x = column(result, [](const LayerRow& row) { return row.layer; });
  plot::Panel panel = over_layers(
      "legacy: element-wise K/V correlation", "Pearson r",
      plot::Lines{{{"", x, column(result, [](const LayerRow& row) { return row.legacy_kv_correlation; }),
                    plot::Colour{0x009e73}}}});
  panel.note = "Unrelated bases: near 0 whatever the model does.";
  panel.marks.emplace_back(plot::Reference{});
  return panel;
}

plot::Panel share_bars(const analysis::LayersResult& result, const std::string& title,
                       double LayerHalf::*measure) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "share of elements"};
  const auto get = [&](const LayerHalf& half) {
    return measure != nullptr ? half.*measure : half.legacy.sparsity;
  };
  plot::Bars bars;
  for (const bool keys : {true, false}) {
    std::vector<double> values =
        column(result, [&](const LayerRow& row) { return get(keys ? row.key : row.value); });
    double sum = 0;
    for (const double value : values) sum += value;
    const double mean = sum / static_cast<double>(std::max<size_t>(1, values.size()));
    const plot::Colour colour = keys ? plot::colours::key : plot::colours::value;
    bars.groups.push_back({keys ? "keys" : "values", std::move(values), {}, colour});
    panel.marks.emplace_back(
        plot::Reference{.at = mean,
                        .label = fmt::format("mean of {} ({:.3f})", keys ? "keys" : "values", mean),
                        .colour = colour});
  }
  panel.marks.insert(panel.marks.begin(), std::move(bars));
  return panel;
}

}  // namespace

std::vector<NamedFigure> layer_figures(const analysis::LayersResult& result,
                                       const analysis::LayersOptions& options) {
  plot::Figure statistics;
  statistics.title = "Keys and values, layer by layer";
  statistics.columns = 3;
  statistics.panels = {over_layers("Hoyer sparsity", "0 dense .. 1 sparse",
                                   key_and_value(result, [](const LayerHalf& half) { return half.hoyer; })),
                       rank_panel(result),
                       cka_panel(result),
                       scale_panel(result),
                       legacy_sparsity(result, options.legacy),
                       legacy_correlation(result)};
  statistics.width = 1600;
  statistics.height = 900;

  plot::Figure potential;
  potential.title = "Small elements, layer by layer";
  potential.height = 900;
  const double gaussian = std::erf(options.small_eps / std::numbers::sqrt2);
  potential.panels = {
      share_bars(result, fmt::format("Share below {} x RMS of the layer", plain_number(options.small_eps)),
                 &LayerHalf::small_share),
      share_bars(result, "legacy: " + legacy_measure(options.legacy), nullptr)};
  potential.panels[0].marks.emplace_back(
      plot::Reference{.at = gaussian, .label = fmt::format("Gaussian data ({:.3f})", gaussian)});
  potential.panels[1].note = "Mirrors the scale of a layer, not what pruning it would cost.";
  potential.caption =
      "Small elements alone save no memory; what leaving something out costs shows in the model's "
      "predictions.";
  return {{"layers/layer_statistics", std::move(statistics)},
          {"layers/layer_pruning_potential", std::move(potential)}};
}

}  // namespace kvviz::figures
