// SPDX-License-Identifier: MIT
#include "kvviz/figures/attention_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kvviz/core/error.hpp"
#include "kvviz/plot/text.hpp"

namespace kvviz::figures {
namespace {

using analysis::AttentionHead;
using analysis::AttentionLayerRow;
using analysis::AttentionResult;

constexpr size_t kNotes = 10;
constexpr double kLeastMass = 1e-5;  // lower end of logarithmic colour scales

plot::Panel head_panel(const AttentionResult& result, const std::string& title, const std::string& z_label,
                       double AttentionHead::*measure) {
  std::vector<MatrixEntry> entries;
  for (const AttentionHead& head : result.heads) entries.push_back({head.layer, head.head, head.*measure});
  return layer_panel(title, "query head", matrix(entries, z_label));
}

plot::Heatmap& map_of(plot::Panel& panel) {
  return std::get<plot::Heatmap>(panel.marks[0]);
}

plot::Figure two_maps(const std::string& title, plot::Panel left, plot::Panel right) {
  plot::Figure figure;
  figure.title = title;
  figure.columns = 2;
  figure.height = 720;
  figure.panels = {std::move(left), std::move(right)};
  return figure;
}

plot::Figure sink_share(const AttentionResult& result) {
  plot::Panel alpha = head_panel(
      result, fmt::format("Mean attention of the first {} queries on the first token", result.sink_tokens),
      "share of attention (alpha_1)", &AttentionHead::alpha_1);
  alpha.note =
      std::isfinite(result.sink_rate)
          ? fmt::format(
                "Pink: {}, above which a head counts as a sink head ({:.1f} % of the query heads do).",
                plain_number(result.sink_eps), 100 * result.sink_rate)
          : "Not defined: " + result.sink_reason;
  map_of(alpha).threshold = result.sink_eps;
  plot::Panel mass = head_panel(result, "Mean attention of all queries on the first token",
                                "share of attention", &AttentionHead::sink_mass);
  for (plot::Panel* panel : {&alpha, &mass}) map_of(*panel).z_min = 0, map_of(*panel).z_max = 1;
  return two_maps("Attention sinks", std::move(alpha), std::move(mass));
}

plot::Figure entropy(const AttentionResult& result) {
  plot::Panel relative = head_panel(result, "Entropy relative to uniform attention",
                                    "entropy / ln(visible keys)", &AttentionHead::entropy_normalized);
  map_of(relative).z_min = 0, map_of(relative).z_max = 1;
  return two_maps("How focused is every head?", std::move(relative),
                  head_panel(result, "Mean entropy", "entropy [nats]", &AttentionHead::entropy));
}

plot::Figure distance(const AttentionResult& result) {
  plot::Panel tokens =
      head_panel(result, "Mean distance to the keys", "distance [tokens]", &AttentionHead::distance);
  map_of(tokens).decimals = decimals_for(map_of(tokens).z);
  return two_maps("How far back does every head look?", std::move(tokens),
                  head_panel(result, "Distance relative to uniform attention", "0 on itself, 1 uniform",
                             &AttentionHead::distance_relative));
}

plot::Figure head_classes(const AttentionResult& result) {
  struct Class {
    const char* label;
    plot::Colour colour;
  };
  static constexpr std::array<Class, 4> kClasses{{{"sink", plot::colours::sink},
                                                  {"local", {0x0072b2}},
                                                  {"global", {0x009e73}},
                                                  {"mixed", plot::colours::neutral}}};
  plot::Bars bars;
  bars.stacked = true;
  for (size_t c = 0; c < kClasses.size(); ++c) {
    bars.groups.push_back({kClasses[c].label, {}, {}, kClasses[c].colour});
    for (const AttentionLayerRow& row : result.layers)
      bars.groups.back().values.push_back(static_cast<double>(row.classes[c]));
  }
  plot::Panel panel;
  panel.title = "Query heads of each kind";
  panel.note =
      "sink: much of all queries' attention on the first token (alpha_1 takes the first queries alone); "
      "local: close by; global: spread over everything; mixed: none of these";
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "query heads", .whole = true, .min = 0};
  panel.marks.emplace_back(std::move(bars));
  plot::Figure figure;
  figure.title = "What do the heads look at?";
  figure.height = 560;
  figure.panels = {std::move(panel)};
  return figure;
}

plot::Figure mass_per_key(const AttentionResult& result, std::span<const std::string> texts) {
  plot::Panel mean;
  mean.title = "Mean over layers and query heads";
  mean.x = {.label = "token position", .whole = true, .names = token_names(texts)};
  mean.y = {.label = "share of attention", .scale = plot::Scale::log10};
  mean.marks.emplace_back(plot::Lines{
      {{"", indices(result.received.size()), result.received, plot::colours::key, plot::Stroke::impulses}}});
  plot::Series heavy{"heaviest tokens", {}, {}, plot::colours::heavy_hitter, plot::Stroke::points};
  plot::Series first{"first token", {}, {}, plot::colours::sink, plot::Stroke::points};
  const size_t marked = std::min(kNotes, result.top_keys.size());
  const bool some = marked < result.ranking.size();  // else no token stands out
  for (size_t i = 0; i < marked; ++i) {
    const analysis::TopKey& top = result.top_keys[i];
    const auto key = static_cast<size_t>(top.key);
    if (key > 0 && !some) continue;
    plot::Series& series = key == 0 ? first : heavy;
    series.x.push_back(static_cast<double>(top.key)), series.y.push_back(top.received);
    const std::string text = key < texts.size() ? ' ' + plot::visible(texts[key]) : std::string();
    mean.marks.emplace_back(
        plot::Note{static_cast<double>(top.key), top.received, fmt::format("{}{}", top.key, text)});
  }
  for (plot::Series* series : {&first, &heavy})
    if (!series->x.empty()) std::get<plot::Lines>(mean.marks[0]).series.push_back(std::move(*series));
  std::vector<MatrixEntry> entries;
  const auto tokens = static_cast<int64_t>(result.received.size());
  for (const AttentionLayerRow& row : result.layers) {
    const int64_t offset = tokens - static_cast<int64_t>(row.received.size());
    for (size_t k = 0; k < row.received.size(); ++k)
      entries.push_back({row.layer, offset + static_cast<int64_t>(k), row.received[k]});
  }
  plot::Panel layers = layer_panel("Layer by layer (mean over query heads)", "token position",
                                   matrix(entries, "share of attention"));
  layers.x.names = token_names(texts);
  map_of(layers).z_scale = plot::Scale::log10;
  map_of(layers).decimals = 3;
  plot::Figure figure;
  figure.title = "Attention that each token receives, per query that can see it";
  figure.panels = {std::move(mean), std::move(layers)};
  if (marked > 0 && some) figure.caption = ranking_rule();
  return figure;
}

plot::Figure top_mass(const AttentionResult& result) {
  size_t points = 0;
  for (const AttentionHead& head : result.heads) points = std::max(points, head.top_mass.size());
  const auto keys = static_cast<double>(std::max<size_t>(1, result.received.size()));
  while (points > 1 && std::exp2(static_cast<double>(points) - 2) >= keys) --points;
  plot::Band spread{"from the least to the most focused head", {}, {}, {}, plot::colours::key};
  plot::Series mean{"mean over all query heads", {}, {}, plot::colours::key};
  for (size_t b = 0; b < points; ++b) {
    double sum = 0, low = 1, high = 0, count = 0;
    for (const AttentionHead& head : result.heads)
      if (b < head.top_mass.size() && std::isfinite(head.top_mass[b]))
        sum += head.top_mass[b], low = std::min(low, head.top_mass[b]),
                                 high = std::max(high, head.top_mass[b]), ++count;
    if (count == 0) continue;
    const double x = std::min(std::exp2(static_cast<double>(b)), keys);
    spread.x.push_back(x), spread.low.push_back(low), spread.high.push_back(high);
    mean.x.push_back(x), mean.y.push_back(sum / count);
  }
  plot::Panel panel;
  panel.title = "Share of a query's attention on its heaviest keys";
  panel.x = {.label = "number of heaviest keys", .scale = plot::Scale::log10, .whole = true};
  panel.y = {.label = "share of attention", .min = 0, .max = 1.02};
  panel.marks = {std::move(spread), plot::Lines{{std::move(mean)}},
                 plot::Reference{.at = 0.95, .label = "95 %"}};
  plot::Figure figure;
  figure.title = "How many keys does attention need?";
  figure.height = 620;
  figure.panels = {std::move(panel)};
  figure.caption =
      "The most that any choice of so many keys can keep of a query's attention (sampled queries).";
  return figure;
}

struct MapGrid {
  int columns = 1, rows = 1;
};

/// Six maps are two rows of three, four are two of two; from seven on, rows of four.
MapGrid grid_of(size_t maps) {
  constexpr int columns[] = {1, 1, 2, 3, 2, 3, 3};
  MapGrid grid{.columns = maps < std::size(columns) ? columns[maps] : 4};
  grid.rows = std::max(1, (static_cast<int>(maps) + grid.columns - 1) / grid.columns);
  return grid;
}

}  // namespace

std::vector<NamedFigure> attention_figures(const AttentionResult& result,
                                           std::span<const std::string> texts) {
  return {{"attention/sink_share", sink_share(result)},
          {"attention/entropy", entropy(result)},
          {"attention/distance", distance(result)},
          {"attention/head_classes", head_classes(result)},
          {"attention/mass_per_key", mass_per_key(result, texts)},
          {"attention/top_mass", top_mass(result)}};
}

std::vector<size_t> typical_heads(const AttentionResult& result, size_t count) {
  const size_t heads = result.heads.size();
  count = std::min(count, heads);
  std::vector<size_t> chosen;
  const auto choose = [&](size_t head) {
    if (chosen.size() < count && std::find(chosen.begin(), chosen.end(), head) == chosen.end())
      chosen.push_back(head);
  };
  const auto extreme = [&](double AttentionHead::*measure, double sign) {
    size_t best = heads;
    for (size_t i = 0; i < heads; ++i) {
      const double value = sign * (result.heads[i].*measure);
      if (std::isfinite(value) && (best == heads || value > sign * (result.heads[best].*measure))) best = i;
    }
    if (best < heads) choose(best);
  };
  for (const double sign : {1.0, -1.0}) {
    extreme(&AttentionHead::sink_mass, sign);
    extreme(&AttentionHead::distance, sign);
    extreme(&AttentionHead::entropy, sign);
  }
  const size_t spread = count;
  for (size_t i = 0; i < spread; ++i) choose(spread > 1 ? i * (heads - 1) / (spread - 1) : 0);
  for (size_t i = 0; i < heads; ++i) choose(i);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

NamedFigure attention_map_figure(std::span<const AttentionMap> maps, const std::string& file) {
  plot::Figure figure;
  const MapGrid grid = grid_of(maps.size());
  figure.title = "Attention maps of single heads (queries downwards, keys to the right)";
  figure.columns = grid.columns;
  for (const AttentionMap& map : maps) {
    const auto bins = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(map.mean.size()))));
    require(bins > 0 && bins * bins == map.mean.size(), "attention map of layer ", map.layer, ", head ",
            map.head, " has ", map.mean.size(), " cells; expected a square number");
    plot::Heatmap cells;
    cells.z = map.mean;
    cells.rows = cells.cols = static_cast<int>(bins);
    for (size_t q = 0; q < bins; ++q)  // the future of a whole bin of queries was never looked at
      for (size_t k = 0; k < bins; ++k) {
        const auto last_query =
            static_cast<double>((q + 1) * static_cast<size_t>(map.queries)) / static_cast<double>(bins) +
            static_cast<double>(map.keys - map.queries);
        const double first_key =
            static_cast<double>(k * static_cast<size_t>(map.keys)) / static_cast<double>(bins);
        if (first_key >= last_query) cells.z[q * bins + k] = std::numeric_limits<double>::quiet_NaN();
      }
    cells.z_label = "attention";
    cells.z_scale = plot::Scale::log10;
    cells.z_min = kLeastMass, cells.z_max = 1;
    cells.decimals = -1;
    cells.nothing_label.clear();
    cells.dx = static_cast<double>(map.keys) / static_cast<double>(bins), cells.x0 = cells.dx / 2 - 0.5;
    cells.dy = static_cast<double>(map.queries) / static_cast<double>(bins),
    cells.y0 = static_cast<double>(map.keys - map.queries) + cells.dy / 2 - 0.5;
    plot::Panel panel;
    panel.title = fmt::format("Layer {}, head {}", map.layer, map.head);
    if (!map.what.empty()) panel.title += ": " + map.what;
    panel.x = {.label = "key", .whole = true};
    panel.y = {.label = "query", .whole = true};
    panel.marks.emplace_back(std::move(cells));
    figure.panels.push_back(std::move(panel));
  }
  figure.width = grid.columns >= 3 ? 1600 : 560 * grid.columns + 40;
  figure.height = 130 + (grid.columns >= 4 ? 340 : 420) * grid.rows;
  if (!maps.empty())
    figure.caption =
        "Mean over the queries of a cell of their attention on its keys. Grey: the future, which no query "
        "sees.";
  return {file, std::move(figure)};
}

std::vector<NamedFigure> all_heads_figures(std::span<const AttentionMap> maps) {
  constexpr size_t page = 48;
  std::vector<NamedFigure> pages;
  for (size_t first = 0; first < maps.size(); first += page) {
    const std::string file = "sinks/all_heads_attention_patterns";
    pages.push_back(attention_map_figure(maps.subspan(first, std::min(page, maps.size() - first)),
                                         first == 0 ? file : fmt::format("{}_{}", file, first / page + 1)));
  }
  return pages;
}

}  // namespace kvviz::figures
