// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvviz/figures/tucker_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

std::vector<double> widened(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

plot::Panel core_panel(const TuckerTensor& tensor, const std::string& name) {
  const stats::Tucker& t = tensor.tucker;
  plot::Heatmap map;
  map.z_label = "|core|";
  map.rows = static_cast<int>(t.ranks.heads * t.ranks.tokens);
  map.cols = static_cast<int>(t.ranks.channels);
  double most = 0;
  for (const float value : t.core) {
    map.z.push_back(std::fabs(static_cast<double>(value)));
    most = std::max(most, map.z.back());
  }
  map.z_scale = plot::Scale::log10;
  // Four decades: what is less is nothing beside the largest.
  if (most > 0) map.z_min = most * 1e-4, map.z_max = most;
  for (double& z : map.z) z = most > 0 ? std::max(z, most * 1e-4) : std::numeric_limits<double>::quiet_NaN();
  map.decimals = -1;
  map.nothing_label = "0";
  plot::Panel panel;
  panel.title = fmt::format("{}: core {} x {} x {}, error {:.3f}", name, t.ranks.heads, t.ranks.tokens,
                            t.ranks.channels, t.error);
  panel.x = {.label = "direction of the channels", .whole = true};
  panel.y = {.label = fmt::format("head direction x {} + token direction", t.ranks.tokens), .whole = true};
  panel.marks.emplace_back(std::move(map));
  return panel;
}

/// More rows than can be seen: their root mean squares, block by block. Signs would cancel.
void pool(plot::Heatmap& map, plot::Axis& y) {
  constexpr int most = 256;
  if (map.rows <= most) return;
  const int block = (map.rows + most - 1) / most, rows = (map.rows + block - 1) / block;
  std::vector<double> pooled;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < map.cols; ++c) {
      const int first = r * block, end = std::min(first + block, map.rows);
      double sum = 0;
      for (int i = first; i < end; ++i) {
        const double value = map.z[static_cast<size_t>(i * map.cols + c)];
        sum += value * value;
      }
      pooled.push_back(std::sqrt(sum / (end - first)));
    }
  map.z = std::move(pooled);
  map.rows = rows;
  map.y0 = 0.5 * (block - 1);
  map.dy = block;
  map.map = plot::ColourMap::sequential;
  map.z_label = "|weight|";
  y.label += fmt::format(" (RMS of {} a row)", block);
}

plot::Panel factor_panel(const TuckerTensor& tensor, size_t mode, const std::string& name) {
  const stats::Tucker& t = tensor.tucker;
  const std::array<int64_t, 3> sizes{t.heads, t.tokens, t.channels},
      ranks{t.ranks.heads, t.ranks.tokens, t.ranks.channels};
  static constexpr std::array<const char*, 3> members{"KV head", "token", "channel"};
  plot::Heatmap map;
  map.z = widened(t.factors[mode]);
  map.rows = static_cast<int>(sizes[mode]);
  map.cols = static_cast<int>(ranks[mode]);
  map.z_label = "weight";
  map.map = plot::ColourMap::diverging;
  if (map.rows * map.cols > 64) map.decimals = -1;
  plot::Panel panel;
  panel.title =
      fmt::format("{}: factor of the {}, {} x {}", name, tucker_modes[mode], sizes[mode], ranks[mode]);
  panel.x = {.label = fmt::format("direction of the {}", tucker_modes[mode]), .whole = true};
  panel.y = {.label = members[mode], .whole = true};
  pool(map, panel.y);
  panel.marks.emplace_back(std::move(map));
  return panel;
}

}  // namespace

plot::Figure tucker_components(const TuckerStudy& study) {
  plot::Figure figure;
  figure.title = fmt::format("Core and factors of layer {}", study.layer);
  figure.columns = static_cast<int>(std::max<size_t>(study.components.size(), 1));
  const auto name = [&](const TuckerTensor& tensor) {
    return tensor.half == Half::key ? keys_label(study, study.basis) : std::string("values");
  };
  for (const TuckerTensor& tensor : study.components)
    figure.panels.push_back(core_panel(tensor, name(tensor)));
  for (const size_t mode : {size_t{2}, size_t{1}, size_t{0}})
    for (const TuckerTensor& tensor : study.components)
      figure.panels.push_back(factor_panel(tensor, mode, name(tensor)));
  figure.row_weights = {1.2, 1, 1, 0.6};
  figure.width = figure.columns == 1 ? 1000 : 1500;
  figure.height = 2100;
  figure.caption =
      "X = core x heads x tokens x channels. Directions are ordered by the energy that they carry; signs are "
      "arbitrary. "
      "Cores below 1e-4 of their largest element have its colour. Of the first cache.";
  return figure;
}

plot::Figure tucker_error_curves(const TuckerStudy& study) {
  plot::Figure figure;
  figure.title = "How much of the cache lies in few directions?";
  figure.caption =
      "Error when one mode alone is cut to this rank, the other two whole: the singular values of its "
      "unfolding that are left out. "
      "Areas: least to greatest of a layer. Lines: all layers as one tensor.";
  const KeyBasis other = study.basis == KeyBasis::pre_rope ? KeyBasis::post_rope : KeyBasis::pre_rope;
  for (const Half half : {Half::key, Half::value}) {
    if (std::ranges::none_of(study.parts, [&](const auto& p) { return p.half == half; })) continue;
    const plot::Colour colour = half == Half::key ? plot::colours::key : plot::colours::value;
    const std::string name = half == Half::key ? keys_label(study, study.basis) : "values";
    for (size_t mode = 0; mode < tucker_modes.size(); ++mode) {
      const TuckerCurve curve = curve_of(study.parts, half, mode);
      std::vector<double> ranks;
      for (size_t r = 1; r <= curve.pooled.size(); ++r) ranks.push_back(static_cast<double>(r));
      plot::Panel panel;
      panel.title = fmt::format("{}: {}", half == Half::key ? "Keys" : "Values", tucker_modes[mode]);
      panel.x = {.label = fmt::format("rank of the {}", tucker_modes[mode]), .whole = true};
      panel.y = {.label = "|X - approximation| / |X|", .min = 0, .max = 1};
      if (study.layers > 1 && ranks.size() > 1)
        panel.marks.emplace_back(plot::Band{"", ranks, curve.least, curve.greatest, colour});
      plot::Lines lines;
      plot::Series line{.label = name, .x = ranks, .y = curve.pooled};
      line.colour = colour;
      lines.series.push_back(std::move(line));
      if (half == Half::key && !study.other_keys.empty()) {
        const TuckerCurve turned = curve_of(study.other_keys, half, mode);
        plot::Series also{.label = keys_label(study, other), .x = ranks, .y = turned.pooled};
        also.colour = plot::Colour{0x009e73};
        also.marker = plot::Marker::none;
        lines.series.push_back(std::move(also));
      }
      panel.marks.emplace_back(std::move(lines));
      double least = INFINITY, most = 0;
      for (const TuckerPart& part : study.parts)
        if (part.half == half)
          least = std::min(least, part.ranks[mode]), most = std::max(most, part.ranks[mode]);
      if (least == most)
        panel.marks.emplace_back(plot::Reference{plot::Reference::Direction::vertical, least, "rank kept",
                                                 plot::colours::neutral});
      figure.panels.push_back(std::move(panel));
    }
  }
  figure.columns = 3;
  figure.width = 1700;
  figure.height = figure.panels.size() > 3 ? 1050 : 640;
  return figure;
}

}  // namespace kvviz::figures
