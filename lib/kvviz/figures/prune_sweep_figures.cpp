// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/loss_scale.hpp"
#include "kvviz/figures/prune_figures.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

const char* kind_name(SweepKind kind) {
  return kind == SweepKind::layers ? "layers" : kind == SweepKind::heads ? "heads" : "channels";
}

std::string side_name(Half half) {
  return half == Half::key ? "keys" : "values";
}

size_t metric_index(const SweepStudy& study, const std::string& metric) {
  return static_cast<size_t>(std::ranges::find(study.metrics, metric) - study.metrics.begin());
}

/// Correlations with the loss, the largest first; of one half in a sweep of channels.
std::vector<const SweepCorrelation*> ranked(const SweepStudy& study, std::optional<Half> half) {
  std::vector<const SweepCorrelation*> order;
  for (const SweepCorrelation& one : study.correlations)
    if (one.half == half && std::isfinite(one.loss.rho)) order.push_back(&one);
  std::ranges::stable_sort(order, std::greater<>(),
                           [](const SweepCorrelation* one) { return std::abs(one->loss.rho); });
  return order;
}

/// Halves of a sweep of channels that were swept; else one of none.
std::vector<std::optional<Half>> halves_of(const SweepStudy& study) {
  if (study.kind != SweepKind::channels) return {std::nullopt};
  std::vector<std::optional<Half>> halves;
  for (const Half half : {Half::key, Half::value})
    if (std::ranges::count(study.items, std::optional(half), &SweepItem::half) > 0) halves.emplace_back(half);
  return halves;
}

/// One cell an item: layer by KV head, or by block of channels.
template <class Value>
plot::Heatmap item_map(const SweepStudy& study, std::optional<Half> half, const std::string& label,
                       Value value) {
  std::vector<MatrixEntry> entries;
  int64_t block = 1;
  for (const SweepItem& item : study.items)
    if (item.half == half && item.first_channel == 0) block = std::max(block, item.last_channel + 1);
  for (const SweepItem& item : study.items) {
    if (item.half != half) continue;
    entries.push_back(
        {item.layer, study.kind == SweepKind::heads ? item.head : item.first_channel / block, value(item)});
  }
  plot::Heatmap map = matrix(entries, label);
  if (study.kind == SweepKind::channels) {
    map.dx = static_cast<double>(block);
    map.x0 = 0.5 * static_cast<double>(block - 1);
  }
  return map;
}

plot::Panel map_panel(const SweepStudy& study, const std::string& title, plot::Heatmap map) {
  map.nothing_label = "not swept";
  return layer_panel(title, study.kind == SweepKind::heads ? "KV head" : "channel", std::move(map));
}

/// Where a scale of losses ends: a few items that break the model would leave the others white, or on the
/// axis.
double limit_of(const std::vector<double>& losses) {
  std::vector<double> sizes;
  for (const double loss : losses)
    if (std::isfinite(loss)) sizes.push_back(std::abs(loss));
  if (sizes.empty()) return 1;
  std::ranges::sort(sizes);
  const double most = sizes.back();
  const double usual = 4 * sizes[(sizes.size() - 1) * 9 / 10];
  return usual > 0 ? std::min(most, usual) : std::max(most, 1e-9);
}

plot::Panel loss_map(const SweepStudy& study, std::optional<Half> half) {
  plot::Heatmap map =
      item_map(study, half, "ΔNLL [nats]", [](const SweepItem& item) { return item.outcome.delta_nll; });
  map.map = plot::ColourMap::diverging;
  map.decimals = 3;
  const double most =
      std::abs(std::ranges::max(map.z, {}, [](double z) { return std::isfinite(z) ? std::abs(z) : 0; }));
  map.z_max = limit_of(map.z), map.z_min = -*map.z_max;
  const bool cut = *map.z_max < most;
  plot::Panel panel =
      map_panel(study, half ? "What removing " + side_name(*half) + " costs" : "What removing it costs",
                std::move(map));
  if (cut) panel.note = fmt::format("Colours end where few cost more; the most is {:.3g} nats.", most);
  return panel;
}

/// What a reader sees of a metric.
std::string metric_label(const std::string& metric) {
  static const std::pair<const char*, const char*> labels[] = {
      {"key_mean_abs", "mean |K|"},
      {"value_mean_abs", "mean |V|"},
      {"key_rms", "RMS of K"},
      {"value_rms", "RMS of V"},
      {"key_effective_rank", "effective rank of K"},
      {"value_effective_rank", "effective rank of V"},
      {"cka_excess", "CKA of K with V"},
      {"legacy_key_sparsity", "legacy sparsity of K"},
      {"legacy_value_sparsity", "legacy sparsity of V"},
      {"entropy", "entropy [nats]"},
      {"sink_mass", "attention to token 0"},
      {"distance", "distance [tokens]"},
      {"output_rms", "RMS of the output"},
      {"mean_abs", "mean |x|"},
      {"rms", "RMS"},
      {"abs_max", "largest |x|"},
      {"rms_ratio", "RMS / median"},
      {"variation", "variation over tokens"},
      {"legacy_sparsity", "legacy sparsity"}};
  for (const auto& [name, label] : labels)
    if (metric == name) return label;
  return metric;
}

std::string rho_text(const SweepCorrelation& one) {
  // No pairing of as many random ones was as good: all that is known of smaller p.
  constexpr double least = 1.01 / (1 + static_cast<double>(stats::PermutationOptions{}.permutations));
  return fmt::format("ρ = {:.2f}, p {} {:.2g}", one.loss.rho, one.loss.p_value <= least ? "≤" : "=",
                     one.loss.p_value);
}

plot::Panel metric_map(const SweepStudy& study, const SweepCorrelation& one) {
  const size_t m = metric_index(study, one.metric);
  return map_panel(study,
                   fmt::format("{}{} ({})", one.half ? side_name(*one.half) + ": " : "",
                               metric_label(one.metric), rho_text(one)),
                   item_map(study, one.half, metric_label(one.metric),
                            [m](const SweepItem& item) { return item.metrics[m]; }));
}

plot::Panel layer_bars(const SweepStudy& study) {
  plot::Bars::Group loss{.label = ""};
  std::vector<std::string> names;
  for (const SweepItem& item : study.items) {
    loss.values.push_back(item.outcome.delta_nll);
    loss.errors.push_back(item.outcome.delta_nll_se);
    names.push_back(fmt::format("{}", item.layer));
  }
  plot::Panel panel;
  panel.title = "What removing it costs";
  panel.note = "Whiskers: paired standard error. Below 0: the model gains.";
  panel.x = {.label = "layer", .whole = true, .names = names};
  panel.y = {.label = "ΔNLL [nats]"};
  panel.marks.emplace_back(plot::Bars{.groups = {std::move(loss)}});
  return panel;
}

plot::Panel metric_bars(const SweepStudy& study, const SweepCorrelation& one) {
  const size_t m = metric_index(study, one.metric);
  plot::Bars::Group group{.label = ""};
  std::vector<std::string> names;
  for (const SweepItem& item : study.items) {
    group.values.push_back(item.metrics[m]);
    names.push_back(fmt::format("{}", item.layer));
  }
  plot::Panel panel;
  panel.title = fmt::format("{} ({})", metric_label(one.metric), rho_text(one));
  panel.x = {.label = "layer", .whole = true, .names = names};
  panel.y = {.label = metric_label(one.metric)};
  panel.marks.emplace_back(plot::Bars{.groups = {std::move(group)}});
  return panel;
}

/// The cheapest and the dearest, in words.
std::string answer(const SweepStudy& study) {
  const auto order = by_loss(study);
  if (order.empty()) return {};
  const auto text = [&](const SweepItem& item) {
    return fmt::format("{} ({} perplexity)", item.outcome.summary,
                       percent_label(item.outcome.delta_ppl_percent()));
  };
  return fmt::format("Cheapest: {}. Dearest: {}.", text(*order.front()), text(*order.back()));
}

plot::Figure sweep_figure(const SweepStudy& study) {
  plot::Figure figure;
  figure.title = fmt::format("Which {} can go?", kind_name(study.kind));
  figure.caption = answer(study) +
                   " ΔNLL: increase of the negative log-likelihood per token when this one alone is removed. "
                   "Beside it: what is measured without removing anything, and its rank correlation with it.";
  for (const auto half : halves_of(study)) {
    const auto best = ranked(study, half);
    const size_t shown = std::min<size_t>(best.size(), study.kind == SweepKind::heads ? 2 : 1);
    figure.panels.push_back(study.kind == SweepKind::layers ? layer_bars(study) : loss_map(study, half));
    for (size_t i = 0; i < shown; ++i)
      figure.panels.push_back(study.kind == SweepKind::layers ? metric_bars(study, *best[i])
                                                              : metric_map(study, *best[i]));
  }
  figure.columns =
      std::min<int>(study.kind == SweepKind::heads ? 3 : 2, static_cast<int>(figure.panels.size()));
  const int rows = (static_cast<int>(figure.panels.size()) + figure.columns - 1) / figure.columns;
  figure.width = 1800;
  figure.height = 240 + rows * std::clamp(40 * study.layers, 360, 900);
  return figure;
}

plot::Figure metrics_figure(const SweepStudy& study) {
  std::vector<MatrixEntry> entries;
  std::vector<std::string> columns, rows;
  const auto halves = halves_of(study);
  for (const auto half : halves) {
    const std::string suffix = half ? " of " + side_name(*half) : "";
    columns.push_back("ΔNLL" + suffix);
    columns.push_back("KL" + suffix);
  }
  for (const SweepCorrelation* best : ranked(study, halves.front())) rows.push_back(best->metric);
  for (const std::string& metric : study.metrics)
    if (std::ranges::count(rows, metric) == 0) rows.push_back(metric);
  for (const SweepCorrelation& one : study.correlations) {
    const auto row = std::ranges::find(rows, one.metric) - rows.begin();
    const auto half = std::ranges::find(halves, one.half);
    if (half == halves.end()) continue;
    const auto column = 2 * (half - halves.begin());
    entries.push_back({row, column, one.loss.rho});
    entries.push_back({row, column + 1, one.kl.rho});
  }
  std::vector<std::string> shown;
  for (const std::string& metric : rows) shown.push_back(metric_label(metric));
  plot::Heatmap map = matrix(entries, "Spearman's ρ");
  map.map = plot::ColourMap::diverging;
  map.z_min = -1, map.z_max = 1;
  plot::Panel panel;
  panel.title = fmt::format("Rank correlation over {} {}", study.items.size() / halves.size(),
                            study.kind == SweepKind::channels ? "blocks" : kind_name(study.kind));
  panel.x = {.label = "what removing costs", .whole = true, .names = columns};
  panel.y = {.label = "measured without removing", .whole = true, .names = shown};
  panel.marks.emplace_back(std::move(map));
  plot::Figure figure;
  figure.title = fmt::format("What foretells which {} can go?", kind_name(study.kind));
  figure.caption =
      "1: the larger the number, the more removing costs; -1: the smaller; near 0: it says nothing. Ordered "
      "by "
      "the first column.";
  figure.width = 1200;
  figure.height = static_cast<int>(300 + 40 * std::max<size_t>(rows.size(), 6));
  figure.panels = {std::move(panel)};
  return figure;
}

constexpr size_t few_items = 8;  // that can be named beside their points

plot::Panel scatter(const SweepStudy& study, const SweepCorrelation& one) {
  std::vector<plot::Mark> notes;
  const size_t m = metric_index(study, one.metric);
  plot::Series points{.stroke = plot::Stroke::points};
  if (one.half) points.colour = *one.half == Half::key ? plot::colours::key : plot::colours::value;
  std::vector<double> losses;
  for (const SweepItem& item : study.items)
    if (item.half == one.half) losses.push_back(item.outcome.delta_nll);
  const double limit = limit_of(losses);
  plot::Series beyond{.colour = points.colour, .stroke = plot::Stroke::points};
  beyond.marker = plot::Marker::triangle;
  double most = 0;
  for (const SweepItem& item : study.items) {
    if (item.half != one.half) continue;
    const double loss = item.outcome.delta_nll;
    if (std::abs(loss) > limit) {
      beyond.x.push_back(item.metrics[m]), beyond.y.push_back(std::copysign(limit, loss));
      if (std::abs(loss) > std::abs(most)) most = loss;
      continue;
    }
    points.x.push_back(item.metrics[m]), points.y.push_back(loss);
    points.errors.push_back(item.outcome.delta_nll_se);
    if (study.items.size() <= few_items)
      notes.emplace_back(plot::Note{item.metrics[m], loss, item.outcome.method});
  }
  plot::Panel panel;
  if (!beyond.x.empty())
    panel.note = fmt::format("Triangles: beyond the axis; the farthest at {:.3g} nats.", most);
  panel.title = fmt::format("{}{}", one.half ? side_name(*one.half) + ": " : "", rho_text(one));
  panel.x = {.label = metric_label(one.metric)};
  panel.y = {.label = "ΔNLL [nats]"};
  plot::Lines lines{.series = {std::move(points)}};
  if (!beyond.x.empty()) lines.series.push_back(std::move(beyond));
  panel.marks.emplace_back(std::move(lines));
  panel.marks.emplace_back(plot::Reference{.at = 0, .label = "", .colour = plot::colours::neutral});
  panel.marks.insert(panel.marks.end(), notes.begin(), notes.end());
  return panel;
}

plot::Figure scatter_figure(const SweepStudy& study) {
  plot::Figure figure;
  figure.title = "Measured without removing, and what removing costs";
  figure.caption =
      "One point each. Whiskers: paired standard error. ρ: Spearman's rank correlation, p by permutation.";
  const auto halves = halves_of(study);
  for (const auto half : halves) {
    const auto best = ranked(study, half);
    for (size_t i = 0; i < std::min<size_t>(best.size(), 4 / halves.size()); ++i)
      figure.panels.push_back(scatter(study, *best[i]));
  }
  figure.columns = figure.panels.size() > 1 ? 2 : 1;
  const auto rows = (static_cast<int>(figure.panels.size()) + figure.columns - 1) / figure.columns;
  figure.height = 200 + 420 * rows;
  return figure;
}

}  // namespace

std::vector<NamedFigure> sweep_figures(const SweepStudy& study, const std::string& what) {
  std::vector<NamedFigure> figures{
      {fmt::format("prune/sweep_{}", kind_name(study.kind)), sweep_figure(study)},
      {"prune/metrics", metrics_figure(study)}};
  NamedFigure points{"prune/metric_scatter", scatter_figure(study)};
  if (!points.figure.panels.empty()) figures.push_back(std::move(points));
  std::string subtitle = over_texts(what, study.texts);
  if (!study.items.empty())
    subtitle += fmt::format(
        "caches of {:.4g} tokens; {} predictions; perplexity {:.4g} with the cache as it is",
        study.items.front().outcome.tokens, study.items.front().outcome.predictions, study.full_ppl);
  for (NamedFigure& named : figures) named.figure.subtitle = subtitle;
  return figures;
}

}  // namespace kvviz::figures
