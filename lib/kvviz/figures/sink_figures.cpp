// SPDX-License-Identifier: MIT
#include "kvviz/figures/sink_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/sink_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

plot::Figure one_panel(const std::string& title, plot::Panel panel, int height) {
  plot::Figure figure;
  figure.title = title;
  figure.height = height;
  figure.panels = {std::move(panel)};
  return figure;
}

plot::Figure two_panels(const std::string& title, plot::Panel left, plot::Panel right) {
  plot::Figure figure;
  figure.title = title;
  figure.columns = 2;
  figure.height = 680;
  figure.panels = {std::move(left), std::move(right)};
  return figure;
}

std::string limit(const SinkRule& rule) {
  return fmt::format("{} {}", info_of(rule.metric).inclusive ? "≥" : ">", plain_number(rule.threshold));
}

plot::Reference threshold_line(const SinkRule& rule, plot::Reference::Direction direction) {
  return {direction, rule.threshold, "threshold " + plain_number(rule.threshold), plot::colours::sink};
}

plot::Axis share_axis(const std::string& label, double largest) {
  constexpr double small = 0.4;
  plot::Axis axis{.label = label, .min = 0};
  if (!(largest < small)) axis.max = 1;
  return axis;
}

plot::Panel layer_axes(const std::string& title, const std::string& y) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = y, .min = 0};
  return panel;
}

namespace {

constexpr size_t most_bars = 48;  // layers; more are lines

/// A heat map of one number a head.
template <class Get>
plot::Panel head_panel(const SinkSummary& summary, const std::string& title, const std::string& z_label,
                       Get get) {
  std::vector<MatrixEntry> entries;
  for (const StudyHead& head : summary.heads) entries.push_back({head.name.layer, head.name.head, get(head)});
  return layer_panel(title, "query head", matrix(entries, z_label));
}

plot::Heatmap& map_of(plot::Panel& panel) {
  return std::get<plot::Heatmap>(panel.marks[0]);
}

/// Tall enough for cells that can be outlined.
int height_for(const SinkSummary& s) {
  return std::clamp(300 + 10 * static_cast<int>(s.layers.size()), 760, 1600);
}

const Spread& score_of(const StudyHead& head, const SinkRule& rule) {
  return head.score[static_cast<size_t>(rule.metric)];
}

/// None where no text gives the head a score.
double share_of(const StudyHead& head, const SinkRule& rule) {
  return score_of(head, rule).count > 0 ? head.sink_share : kNone;
}

plot::Panel score_panel(const SinkSummary& s) {
  plot::Panel panel = head_panel(
      s,
      fmt::format("{}{}", s.score.count > 1 ? fmt::format("Mean over {} texts: ", s.score.count) : "",
                  info_of(s.rule.metric).label),
      info_of(s.rule.metric).label, [&](const StudyHead& h) { return score_of(h, s.rule).mean; });
  map_of(panel).threshold = s.rule.threshold;
  map_of(panel).threshold_inclusive = info_of(s.rule.metric).inclusive;
  return panel;
}

/// Colours from 0 to 1, so that maps of different models can be compared; an excess may lie below 0.
plot::Panel heat_panel(const SinkSummary& s) {
  plot::Panel panel = score_panel(s);
  plot::Heatmap& map = map_of(panel);
  if (info_of(s.rule.metric).is_share) {
    map.z_min = 0, map.z_max = 1;
    for (const double score : map.z) map.z_min = std::min(*map.z_min, std::isnan(score) ? 0 : score);
  }
  panel.note = std::isnan(s.rate_of_mean)
                   ? "No text has this score."
                   : fmt::format("Pink: the threshold. Mean {}: {:.1f} % of the query heads.", limit(s.rule),
                                 100 * s.rate_of_mean);
  return panel;
}

/// Colours and heights span the data and the threshold.
plot::Figure surface(const SinkSummary& s) {
  plot::Panel panel = score_panel(s);
  plot::Heatmap& map = map_of(panel);
  map.surface = true;
  double low = 0, high = 1.05 * s.rule.threshold;
  for (const double score : map.z)
    if (!std::isnan(score)) low = std::min(low, score), high = std::max(high, score);
  map.z_min = low, map.z_max = high;
  panel.note = fmt::format("Pink outline: the threshold, {}.", plain_number(s.rule.threshold));
  return one_panel("Sink scores over layers and heads", std::move(panel), 900);
}

plot::Panel mask_panel(const SinkSummary& s) {
  plot::Panel panel = head_panel(s, "Share of texts in which the head is a sink", "share of texts",
                                 [&](const StudyHead& h) { return share_of(h, s.rule); });
  map_of(panel).z_min = 0, map_of(panel).z_max = 1;
  panel.note = fmt::format("Sink: {} {}.", info_of(s.rule.metric).label, limit(s.rule));
  if (!std::isnan(s.always))
    panel.note +=
        fmt::format(" Always {:.1f} %, never {:.1f} % of the query heads.", 100 * s.always, 100 * s.never);
  return panel;
}

plot::Panel mean_panel(const SinkSummary& s) {
  plot::Panel panel = layer_axes("Mean score by layer", info_of(s.rule.metric).label);
  std::vector<double> mean, sd, low, high;
  bool spread = true;
  for (const StudyLayer& layer : s.layers) {
    mean.push_back(layer.score.mean), sd.push_back(layer.score.sd);
    low.push_back(layer.score.mean - layer.score.sd), high.push_back(layer.score.mean + layer.score.sd);
    spread = spread && !std::isnan(layer.score.sd);
    if (layer.score.mean < 0) panel.y.min.reset();
  }
  const std::string label = "mean over heads", spread_label = "standard deviation over texts";
  if (s.layers.size() > most_bars) {
    const std::vector<double> at = indices(mean.size());
    if (spread) panel.marks.emplace_back(plot::Band{"± " + spread_label, at, low, high, query_heads});
    panel.marks.emplace_back(plot::Lines{{{label, at, mean, query_heads}}});
  } else {
    plot::Bars::Group group{label, mean, {}, query_heads};
    if (spread) group.errors = sd, group.label += " (bar: " + spread_label + ")";
    panel.marks.emplace_back(plot::Bars{{std::move(group)}});
  }
  panel.marks.emplace_back(threshold_line(s.rule, plot::Reference::Direction::horizontal));
  return panel;
}

plot::Panel frequency_panel(const SinkSummary& s) {
  std::vector<plot::Bars::Group> groups = {{query_heads_label, {}, {}, query_heads},
                                           {query_heads_of_mean_label, {}, {}, query_heads_of_mean},
                                           {kv_groups_label, {}, {}, kv_groups}};
  double largest = 0;
  for (const StudyLayer& layer : s.layers) {
    const double rates[] = {layer.rate, layer.rate_of_mean, layer.group_rate};
    for (size_t i = 0; i < groups.size(); ++i) {
      groups[i].values.push_back(rates[i]);
      largest = std::max(largest, rates[i]);
    }
  }
  plot::Panel panel =
      layer_axes(fmt::format("Sink heads: {} {}", info_of(s.rule.metric).label, limit(s.rule)), "");
  panel.y = share_axis("share of heads", largest);
  if (largest == 0) panel.note = "No head is a sink.";
  if (s.layers.size() <= most_bars) {
    panel.marks.emplace_back(plot::Bars{std::move(groups)});
    return panel;
  }
  plot::Lines lines;
  for (const auto& group : groups)
    lines.series.push_back({group.label, indices(group.values.size()), group.values, group.colour});
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

std::string across_note(const AcrossLayers& across) {
  if (std::isnan(across.p_later)) return across.reason.empty() ? "" : "Across layers: " + across.reason + ".";
  std::string note =
      fmt::format("P(sink later | sink at that head index in the first layer) {:.2f}", across.p_later);
  if (!std::isnan(across.low)) note += fmt::format(" (95 %: {:.2f} to {:.2f})", across.low, across.high);
  return note + fmt::format("; P(sink later), its base rate, {:.2f}.", across.base);
}

plot::Figure frequency(const SinkFigureInput& input) {
  plot::Panel panel = frequency_panel(*input.summary);
  if (const std::string note = input.across == nullptr ? "" : across_note(*input.across); !note.empty())
    panel.note += (panel.note.empty() ? "" : " ") + note;
  return one_panel("Sink heads by layer", std::move(panel));
}

plot::Figure consistency(const SinkFigureInput& input) {
  const SinkSummary& s = *input.summary;
  plot::Panel spread = head_panel(s, "Standard deviation of the score over texts", "standard deviation",
                                  [&](const StudyHead& h) { return score_of(h, s.rule).sd; });
  map_of(spread).z_min = 0, map_of(spread).decimals = 3;
  const size_t all = input.study->prompts.size();
  spread.note = std::isnan(s.correlation)
                    ? "Heads that are all alike have no correlation between texts."
                    : fmt::format("Correlation of the heads' scores between texts: {:.2f}.", s.correlation);
  int64_t most = 0;  // texts without the score do not count
  for (const StudyHead& head : s.heads) most = std::max(most, score_of(head, s.rule).count);
  const auto texts = static_cast<size_t>(most);
  plot::Histogram histogram;  // a bin for each count there can be
  for (size_t i = 0; i <= texts + 1; ++i) histogram.edges.push_back(static_cast<double>(i) - 0.5);
  histogram.groups = {{"", std::vector<double>(texts + 1, 0.0), query_heads}};
  for (const StudyHead& head : s.heads) {
    const double share = share_of(head, s.rule);
    if (std::isnan(share)) continue;
    const auto count =
        static_cast<size_t>(std::lround(share * static_cast<double>(score_of(head, s.rule).count)));
    histogram.groups[0].counts[std::min(texts, count)] += 1;
  }
  plot::Panel share;
  share.title = "In how many texts is a head a sink?";
  share.note = "Heads at the two ends are sinks whatever the text, or never.";
  const std::string of = fmt::format("texts, of {}", texts);
  share.x = {.label = texts < all ? of + " that have the score" : of, .whole = true};
  share.y = {.label = "query heads", .whole = true, .min = 0};
  share.marks.emplace_back(std::move(histogram));
  return two_panels("Does a head stay a sink from text to text?", std::move(spread), std::move(share));
}

plot::Figure combined(const SinkSummary& s) {
  plot::Figure figure;
  figure.title = "Attention sinks at a glance";
  figure.columns = 2;
  figure.height = 1240;
  figure.panels = {heat_panel(s), mask_panel(s), frequency_panel(s), mean_panel(s)};
  return figure;
}

}  // namespace

std::vector<NamedFigure> sink_figures(const SinkFigureInput& input) {
  const SinkSummary& s = *input.summary;
  std::vector<NamedFigure> all = {
      {"sinks/sink_heatmap_enhanced",
       one_panel("How strongly does every head rest on the first token?", heat_panel(s), height_for(s))},
      {"sinks/avg_sink_score_by_layer_enhanced", one_panel("Sink score by layer", mean_panel(s))},
      {"sinks/layer_sink_frequency", frequency(input)},
      {"sinks/sink_mask", one_panel("Which heads are sinks?", mask_panel(s), height_for(s))},
      {"sinks/threshold_sweep", sweep_figure(s)},
      {"sinks/3d_sink_patterns", surface(s)},
      {"sinks/combined_analysis", combined(s)}};
  if (input.study->prompts.size() > 1) all.push_back({"sinks/head_consistency", consistency(input)});
  const auto [shortest, longest] = std::ranges::minmax(input.study->prompts, {}, &PromptSinks::tokens);
  if (!s.by_length.empty() || shortest.tokens < longest.tokens)
    all.push_back({"sinks/seq_length_vs_sink_percentage", length_figure(input)});
  if (s.heads.front().counts[0].count > 0) all.push_back({"sinks/sink_keys", sink_keys_figure(s)});
  if (!input.layers.empty()) {
    all.push_back({"sinks/sink_tokens", token_kinds_figure(input.layers)});
    if (!std::isnan(input.layers.front().k_norm_rest))
      all.push_back({"sinks/sink_norms", norms_figure(input.layers)});
  }
  for (NamedFigure& named : all) {
    const bool over_lengths = named.file == "sinks/seq_length_vs_sink_percentage" && !s.by_length.empty() &&
                              !input.subtitle_over_lengths.empty();
    const std::string& subtitle = over_lengths ? input.subtitle_over_lengths : input.subtitle;
    named.figure.subtitle = subtitle;
    if (!input.synthetic) continue;
    named.figure.title = "Synthetic: " + named.figure.title;
    named.figure.subtitle = "SYNTHETIC (random numbers, no model)";
    if (!subtitle.empty()) named.figure.subtitle += ": " + subtitle;
  }
  return all;
}

}  // namespace kvviz::figures
