// SPDX-License-Identifier: MIT
#include "kvviz/figures/heads_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvviz::figures {
namespace {

using analysis::HeadHalf;
using analysis::HeadRow;

constexpr size_t kNamed = 4;  // of the lowest heads

/// One measure per (layer, KV head), of keys or values.
template <class Get>
plot::Panel head_panel(const analysis::HeadsResult& result, const std::string& title,
                       const std::string& z_label, Get&& get) {
  std::vector<MatrixEntry> entries;
  for (const HeadRow& row : result.rows) entries.push_back({row.layer, row.head, get(row)});
  return layer_panel(title, "KV head", matrix(entries, z_label));
}

/// Both heat maps of a measure on one colour scale.
void share_colours(plot::Panel& left, plot::Panel& right) {
  auto& a = std::get<plot::Heatmap>(left.marks[0]);
  auto& b = std::get<plot::Heatmap>(right.marks[0]);
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const plot::Heatmap* map : {&a, &b})
    for (const double z : map->z)
      if (std::isfinite(z)) low = std::min(low, z), high = std::max(high, z);
  if (low > high) return;
  a.z_min = b.z_min = low;
  a.z_max = b.z_max = high;
}

std::string legacy_title(const analysis::LegacyOptions& options, const char* half) {
  return options.threshold > 0 ? fmt::format("legacy, {}: share below a fixed magnitude", half)
                               : fmt::format("legacy, {}: share below {} % of the cache's largest |x|", half,
                                             plain_number(options.percent));
}

plot::Figure sparsity(const analysis::HeadsResult& result, const analysis::HeadsOptions& options) {
  plot::Figure figure;
  figure.title = "Sparsity of every KV head";
  figure.columns = 2;
  figure.height = 1100;
  figure.panels = {head_panel(result, "Keys: Hoyer sparsity", "0 dense .. 1 sparse",
                              [](const HeadRow& row) { return row.key.hoyer; }),
                   head_panel(result, "Values: Hoyer sparsity", "0 dense .. 1 sparse",
                              [](const HeadRow& row) { return row.value.hoyer; }),
                   head_panel(result, legacy_title(options.legacy, "keys"), "share of elements",
                              [](const HeadRow& row) { return row.key.legacy.sparsity; }),
                   head_panel(result, legacy_title(options.legacy, "values"), "share of elements",
                              [](const HeadRow& row) { return row.value.legacy.sparsity; })};
  share_colours(figure.panels[0], figure.panels[1]);
  share_colours(figure.panels[2], figure.panels[3]);
  figure.caption =
      "Gaussian data has a Hoyer sparsity of about 0.20. The legacy share mirrors a head's scale.";
  return figure;
}

struct Ranked {
  double value = 0;
  int layer = 0, head = 0;
};

/// Heads by effective rank, lowest first; the lowest are named in the small print.
void add_ranking(plot::Panel& panel, const analysis::HeadsResult& result, bool keys) {
  std::vector<Ranked> ranked;
  for (const HeadRow& row : result.rows) {
    const double rank = keys ? row.key.effective_rank : row.value.effective_rank;
    if (std::isfinite(rank)) ranked.push_back({rank, row.layer, row.head});
  }
  if (ranked.empty()) return;
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Ranked& a, const Ranked& b) { return a.value < b.value; });
  std::vector<double> values;
  for (const Ranked& head : ranked) values.push_back(head.value);
  panel.note += keys ? "Lowest keys:" : "Lowest values:";
  for (size_t i = 0; i < std::min(kNamed, ranked.size()); ++i)
    panel.note += fmt::format(" L{} H{} ({:.1f}){}", ranked[i].layer, ranked[i].head, ranked[i].value,
                              i + 1 < std::min(kNamed, ranked.size()) ? "," : ".  ");
  panel.marks.emplace_back(plot::Lines{{{keys ? "keys" : "values", indices(values.size()), values,
                                         keys ? plot::colours::key : plot::colours::value}}});
}

/// A share and its spread, cut where shares end.
void add_share(plot::Bars::Group& group, double share, double spread) {
  group.values.push_back(share);
  group.errors.push_back(std::min(spread, share));
  group.errors_above.push_back(std::min(spread, 1 - share));
}

plot::Figure potential(const analysis::HeadsResult& result, const analysis::HeadsOptions& options) {
  plot::Panel ranking;
  ranking.title = "Heads ranked by effective rank: the lowest use the fewest directions (L layer, H head)";
  ranking.x = {.label = "place in the ranking (keys and values ranked apart)", .whole = true};
  ranking.y = {.label = "effective rank", .min = 0};
  add_ranking(ranking, result, true);
  add_ranking(ranking, result, false);

  std::vector<analysis::LegacyHeadConsistency> heads = result.legacy_consistency;
  std::sort(heads.begin(), heads.end(), [](const auto& a, const auto& b) { return a.head < b.head; });
  plot::Bars bars{{{"keys, with std over the layers", {}, {}, plot::colours::key},
                   {"values, with std over the layers", {}, {}, plot::colours::value}}};
  for (const auto& head : heads) {
    add_share(bars.groups[0], head.k_sparsity_mean, head.k_sparsity_std);
    add_share(bars.groups[1], head.v_sparsity_mean, head.v_sparsity_std);
  }
  plot::Panel legacy;
  legacy.title = legacy_title(options.legacy, "mean over layers");
  legacy.note =
      "The same head index in two layers is not the same head: this average has no meaning of its own. "
      "Whiskers are clipped to 0 and 1.";
  legacy.x = {.label = "KV head index", .whole = true};
  legacy.y = {.label = "share of elements"};
  legacy.marks.emplace_back(std::move(bars));

  plot::Figure figure;
  figure.title = "Which KV heads could be stored with less?";
  figure.height = 950;
  figure.panels = {std::move(ranking), std::move(legacy)};
  return figure;
}

plot::Figure heatmap(const analysis::HeadsResult& result, const analysis::HeadsOptions& options) {
  const std::string small = fmt::format("share below {} x RMS of the head", plain_number(options.small_eps));
  plot::Figure figure;
  figure.title = "Small elements and effective rank of every KV head";
  figure.columns = 2;
  figure.height = 1100;
  figure.panels = {head_panel(result, "Keys: " + small, "share of elements",
                              [](const HeadRow& row) { return row.key.small_share; }),
                   head_panel(result, "Values: " + small, "share of elements",
                              [](const HeadRow& row) { return row.value.small_share; }),
                   head_panel(result, "Keys: effective rank", "directions in use",
                              [](const HeadRow& row) { return row.key.effective_rank; }),
                   head_panel(result, "Values: effective rank", "directions in use",
                              [](const HeadRow& row) { return row.value.effective_rank; })};
  for (plot::Panel* panel : {&figure.panels[2], &figure.panels[3]}) {
    auto& map = std::get<plot::Heatmap>(panel->marks[0]);
    map.decimals = decimals_for(map.z);
  }
  share_colours(figure.panels[0], figure.panels[1]);
  share_colours(figure.panels[2], figure.panels[3]);
  figure.caption = fmt::format(
      "Gaussian data has a share of {:.3f}. A low effective rank means a low-rank copy loses little.",
      std::erf(options.small_eps / std::sqrt(2.0)));
  return figure;
}

}  // namespace

std::vector<NamedFigure> head_figures(const analysis::HeadsResult& result,
                                      const analysis::HeadsOptions& options) {
  return {{"heads/head_sparsity", sparsity(result, options)},
          {"heads/head_pruning_potential", potential(result, options)},
          {"heads/pruning_heatmap_by_layer_head", heatmap(result, options)}};
}

}  // namespace kvviz::figures
