// SPDX-License-Identifier: MIT
#include "kvviz/figures/sink_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace kvviz::figures {
namespace {

using namespace analysis;

plot::Figure one_panel(const std::string& title, plot::Panel panel, int height = 640) {
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

std::string axis_of(const SinkRule& rule) {
  return info_of(rule.metric).label;
}

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

const Spread& score_of(const StudyHead& head, const SinkRule& rule) {
  return head.score[static_cast<size_t>(rule.metric)];
}

plot::Panel heat_panel(const SinkSummary& s) {
  plot::Panel panel =
      head_panel(s,
                 fmt::format("Mean {} over {} text{}", info_of(s.rule.metric).label, s.score.count,
                             s.score.count == 1 ? "" : "s"),
                 axis_of(s.rule), [&](const StudyHead& h) { return score_of(h, s.rule).mean; });
  map_of(panel).threshold = s.rule.threshold;
  if (info_of(s.rule.metric).is_share) map_of(panel).z_min = 0, map_of(panel).z_max = 1;
  panel.note =
      fmt::format("Outlined: mean {}. {:.1f} % of the query heads.", limit(s.rule), 100 * s.rate_of_mean);
  return panel;
}

plot::Figure surface(const SinkSummary& s) {
  plot::Panel panel = heat_panel(s);
  map_of(panel).surface = true;
  panel.note = fmt::format("Pink plane: threshold {}.", plain_number(s.rule.threshold));
  return one_panel("Sink scores over layers and heads", std::move(panel), 900);
}

plot::Panel mask_panel(const SinkSummary& s) {
  plot::Panel panel = head_panel(s, "Share of texts in which the head is a sink", "share of texts",
                                 [](const StudyHead& h) { return h.sink_share; });
  map_of(panel).z_min = 0, map_of(panel).z_max = 1;
  panel.note = fmt::format("Sink: {} {}. Always {:.1f} %, never {:.1f} % of the heads.",
                           info_of(s.rule.metric).label, limit(s.rule), 100 * s.always, 100 * s.never);
  return panel;
}

plot::Panel layer_axes(const std::string& title, const std::string& y) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = y, .min = 0};
  return panel;
}

plot::Panel mean_panel(const SinkSummary& s) {
  plot::Panel panel = layer_axes("Mean score by layer", axis_of(s.rule));
  plot::Bars::Group group{"mean over heads (bar: standard deviation over texts)", {}, {}, plot::colours::key};
  bool spread = true;
  for (const StudyLayer& layer : s.layers) {
    group.values.push_back(layer.score.mean);
    group.errors.push_back(layer.score.sd);
    spread = spread && !std::isnan(layer.score.sd);
  }
  if (!spread) group.errors.clear(), group.label = "mean over heads";
  panel.marks.emplace_back(plot::Bars{{std::move(group)}});
  panel.marks.emplace_back(threshold_line(s.rule, plot::Reference::Direction::horizontal));
  return panel;
}

plot::Panel frequency_panel(const SinkSummary& s) {
  plot::Panel panel =
      layer_axes(fmt::format("Share of heads with {} {}", info_of(s.rule.metric).label, limit(s.rule)),
                 "share of heads");
  panel.y.max = 1;
  plot::Bars bars;
  bars.groups = {{"query heads: each text thresholded, then averaged", {}, {}, plot::colours::key},
                 {"query heads: averaged over texts, then thresholded", {}, {}, plot::Colour{0x56b4e9}},
                 {"whole KV groups (these free memory)", {}, {}, plot::colours::value}};
  for (const StudyLayer& layer : s.layers) {
    bars.groups[0].values.push_back(layer.rate);
    bars.groups[1].values.push_back(layer.rate_of_mean);
    bars.groups[2].values.push_back(layer.group_rate);
  }
  panel.marks.emplace_back(std::move(bars));
  return panel;
}

plot::Figure consistency(const SinkSummary& s) {
  plot::Panel spread = head_panel(s, "Standard deviation of the score over texts", "standard deviation",
                                  [&](const StudyHead& h) { return score_of(h, s.rule).sd; });
  map_of(spread).z_min = 0;
  spread.note = std::isnan(s.correlation)
                    ? "One text: no spread."
                    : fmt::format("Correlation of the heads' scores between texts: {:.2f}.", s.correlation);
  constexpr size_t bins = 10;
  plot::Histogram histogram;
  for (size_t i = 0; i <= bins; ++i) histogram.edges.push_back(static_cast<double>(i) / bins);
  histogram.groups = {{"", std::vector<double>(bins, 0.0), plot::colours::key}};
  for (const StudyHead& head : s.heads)
    histogram.groups[0].counts[std::min(bins - 1, static_cast<size_t>(head.sink_share * bins))] += 1;
  plot::Panel share;
  share.title = "In how many texts is a head a sink?";
  share.note = "Heads that always or never are stand at the ends: a property of the head, not of the text.";
  share.x = {.label = "share of texts", .min = 0, .max = 1};
  share.y = {.label = "query heads", .whole = true, .min = 0};
  share.marks.emplace_back(std::move(histogram));
  return two_panels("Does a head stay a sink from text to text?", std::move(spread), std::move(share));
}

plot::Figure by_length(const SinkSummary& s) {
  plot::Series rate{"sink rate, mean over texts", {}, {}, plot::colours::key};
  plot::Band error{"± standard error", {}, {}, {}, plot::colours::key};
  plot::Series alpha{"mean over heads and texts", {}, {}, plot::colours::key};
  plot::Series uniform{"uniform attention", {}, {}, plot::colours::neutral, plot::Stroke::dashed};
  for (const LengthPoint& point : s.by_length) {
    const auto n = static_cast<double>(point.length);
    rate.x.push_back(n), rate.y.push_back(point.rate.mean);
    alpha.x.push_back(n), alpha.y.push_back(point.alpha.mean);
    uniform.x.push_back(n), uniform.y.push_back(point.uniform);
    const double se = point.rate.standard_error();
    if (std::isnan(se)) continue;
    error.x.push_back(n);
    error.low.push_back(std::max(0.0, point.rate.mean - se)),
        error.high.push_back(std::min(1.0, point.rate.mean + se));
  }
  const double threshold =
      s.rule.metric == SinkMetric::alpha ? s.rule.threshold : info_of(SinkMetric::alpha).threshold;
  plot::Panel rates;
  rates.title = fmt::format("Share of query heads with alpha_k > {}", plain_number(threshold));
  rates.x = {.label = "tokens T", .scale = plot::Scale::log10};
  rates.y = {.label = "sink rate", .min = 0, .max = 1};
  if (!error.x.empty()) rates.marks.emplace_back(std::move(error));
  rates.marks.emplace_back(plot::Lines{{std::move(rate)}});
  plot::Panel means;
  means.title = "Mean alpha_k";
  means.note = "Uniform attention falls with the length by itself; a sink is what stays above it.";
  means.x = rates.x;
  means.y = {.label = "alpha_k", .min = 0};
  means.marks.emplace_back(plot::Lines{{std::move(alpha), std::move(uniform)}});
  return two_panels("Sinks against sequence length", std::move(rates), std::move(means));
}

/// Where no curve was measured: every text at its own length.
plot::Figure by_text_length(const SinkStudy& study, const SinkSummary& s) {
  plot::Series rates{"one text", {}, {}, plot::colours::key, plot::Stroke::points};
  for (const PromptSinks& prompt : study.prompts) {
    double sinks = 0;
    for (const double score : prompt.score[static_cast<size_t>(s.rule.metric)])
      sinks += s.rule.holds(score) ? 1 : 0;
    rates.x.push_back(static_cast<double>(prompt.tokens));
    rates.y.push_back(sinks / static_cast<double>(study.heads.size()));
  }
  plot::Panel panel;
  panel.title = fmt::format("Share of query heads with {} {}", info_of(s.rule.metric).label, limit(s.rule));
  panel.x = {.label = "tokens of the text"};
  panel.y = {.label = "sink rate", .min = 0, .max = 1};
  panel.marks.emplace_back(plot::Lines{{std::move(rates)}});
  return one_panel("Sinks against sequence length", std::move(panel));
}

plot::Figure sweep(const SinkSummary& s) {
  plot::Lines lines;
  lines.series = {{"query heads: each text thresholded, then averaged", {}, {}, plot::colours::key},
                  {"query heads: averaged over texts, then thresholded",
                   {},
                   {},
                   plot::Colour{0x56b4e9},
                   plot::Stroke::dashed},
                  {"whole KV groups", {}, {}, plot::colours::value}};
  for (const ThresholdPoint& point : s.sweep) {
    const double rates[] = {point.rate, point.rate_of_mean, point.group_rate};
    for (size_t i = 0; i < 3; ++i) {
      lines.series[i].x.push_back(point.threshold);
      lines.series[i].y.push_back(rates[i]);
    }
  }
  plot::Panel panel;
  panel.title = "Share of heads above the threshold";
  panel.x = {.label = "threshold of " + axis_of(s.rule),
             .scale = info_of(s.rule.metric).is_share ? plot::Scale::linear : plot::Scale::log10};
  panel.y = {.label = "share of heads", .min = 0, .max = 1};
  panel.marks.emplace_back(std::move(lines));
  panel.marks.emplace_back(threshold_line(s.rule, plot::Reference::Direction::vertical));
  return one_panel("The sink rate depends on the threshold", std::move(panel));
}

plot::Figure combined(const SinkSummary& s) {
  plot::Figure figure;
  figure.title = "Attention sinks at a glance";
  figure.columns = 2;
  figure.height = 1240;
  figure.panels = {heat_panel(s), mask_panel(s), frequency_panel(s), mean_panel(s)};
  return figure;
}

struct Kind {
  const char* label;
  plot::Colour colour;
};
constexpr std::array<Kind, token_kind_count> kinds{{{"BOS", plot::colours::sink},
                                                    {"newline", {0xe69f00}},
                                                    {"punctuation, symbols", {0x009e73}},
                                                    {"other tokens", plot::colours::neutral}}};

plot::Figure token_kinds(std::span<const LayerSinks> layers) {
  plot::Bars mass{.stacked = true}, keys{.stacked = true};
  double tokens = 0;
  std::array<double, token_kind_count> of_kind{};
  for (size_t kind = 0; kind < token_kind_count; ++kind) {
    mass.groups.push_back({kinds[kind].label, {}, {}, kinds[kind].colour});
    keys.groups.push_back({kinds[kind].label, {}, {}, kinds[kind].colour});
    of_kind[kind] = static_cast<double>(layers.front().kind_tokens[kind]);
    tokens += of_kind[kind];
    for (const LayerSinks& layer : layers) {
      mass.groups.back().values.push_back(layer.mass[kind]);
      keys.groups.back().values.push_back(static_cast<double>(layer.sink_keys[kind]));
    }
  }
  plot::Panel left = layer_axes("Attention that each kind of token receives", "share of attention");
  left.y.max = 1;
  left.note =
      fmt::format("Of the tokens {:.1f} % are BOS, {:.1f} % newlines, {:.1f} % punctuation or symbols.",
                  100 * of_kind[0] / tokens, 100 * of_kind[1] / tokens, 100 * of_kind[2] / tokens);
  left.marks.emplace_back(std::move(mass));
  plot::Panel right = layer_axes("Sink keys by kind of token", "sink keys (over heads and texts)");
  right.note = "A sink key gets far more from later queries than uniform attention would give it.";
  right.marks.emplace_back(std::move(keys));
  return two_panels("Which tokens are sinks?", std::move(left), std::move(right));
}

plot::Panel norm_panel(const std::string& title, std::span<const LayerSinks> layers,
                       double LayerSinks::*first, double LayerSinks::*rest) {
  plot::Lines lines;
  lines.series = {{"first token", {}, {}, plot::colours::sink},
                  {"median of the others", {}, {}, plot::colours::neutral}};
  for (const LayerSinks& layer : layers)
    for (size_t i = 0; i < 2; ++i) {
      lines.series[i].x.push_back(static_cast<double>(layer.layer));
      lines.series[i].y.push_back(layer.*(i == 0 ? first : rest));
    }
  plot::Panel panel = layer_axes(title, "L2 norm, mean over KV heads");
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

plot::Figure norms(std::span<const LayerSinks> layers) {
  return two_panels("The first token's key and value",
                    norm_panel("Keys", layers, &LayerSinks::k_norm_first, &LayerSinks::k_norm_rest),
                    norm_panel("Values (small: resting on it adds little)", layers, &LayerSinks::v_norm_first,
                               &LayerSinks::v_norm_rest));
}

bool measured_norms(std::span<const LayerSinks> layers) {
  return !layers.empty() && !std::isnan(layers.front().k_norm_rest);
}

std::string run_label(const SinkComparisonRun& run, const char* letter) {
  const std::string tokens = run.tokens_min == run.tokens_max
                                 ? fmt::format("{:g}", run.tokens_min)
                                 : fmt::format("{:g} to {:g}", run.tokens_min, run.tokens_max);
  return fmt::format("{}: {}, {} tokens, threshold {}", letter, run.label, tokens,
                     plain_number(run.threshold));
}

}  // namespace

std::vector<NamedFigure> sink_figures(const SinkFigureInput& input) {
  const SinkSummary& s = *input.summary;
  std::vector<NamedFigure> all = {
      {"sinks/sink_heatmap_enhanced",
       one_panel("How strongly does every head rest on the first token?", heat_panel(s), 760)},
      {"sinks/avg_sink_score_by_layer_enhanced", one_panel("Sink score by layer", mean_panel(s))},
      {"sinks/layer_sink_frequency", one_panel("Sink heads by layer", frequency_panel(s))},
      {"sinks/sink_mask", one_panel("Which heads are sinks?", mask_panel(s), 760)},
      {"sinks/head_consistency", consistency(s)},
      {"sinks/threshold_sweep", sweep(s)},
      {"sinks/3d_sink_patterns", surface(s)},
      {"sinks/combined_analysis", combined(s)}};
  all.push_back({"sinks/seq_length_vs_sink_percentage",
                 s.by_length.empty() ? by_text_length(*input.study, s) : by_length(s)});
  if (!input.layers.empty()) all.push_back({"sinks/sink_tokens", token_kinds(input.layers)});
  if (measured_norms(input.layers)) all.push_back({"sinks/sink_norms", norms(input.layers)});
  if (!input.synthetic) return all;
  for (NamedFigure& named : all) {
    named.figure.title = "Synthetic: " + named.figure.title;
    named.figure.caption = "Random numbers; no model was run.";
  }
  return all;
}

NamedFigure sink_comparison_figure(const SinkComparisonRun& a, const SinkComparisonRun& b) {
  const SinkComparisonRun* runs[] = {&a, &b};
  const char* letters[] = {"a", "b"};
  plot::Bars rates, later;
  plot::Panel left, right;
  left.title = "Sink rate";
  right.title = "Does the first layer foretell later ones?";
  right.note = "If a run's two bars are equally high, it foretells nothing.";
  for (size_t i = 0; i < 2; ++i) {
    const SinkComparisonRun& run = *runs[i];
    const plot::Colour colour = i == 0 ? plot::colours::key : plot::colours::value;
    plot::Bars::Group rate{run_label(run, letters[i]), {run.rate}, {run.rate_se}, colour};
    if (std::isnan(run.rate_se)) rate.errors = {0.0};
    rates.groups.push_back(rate);
    later.groups.push_back({run_label(run, letters[i]), {run.p_later, run.base}, {}, colour});
  }
  left.x = {
      .label = "share of query heads (bar: standard error over texts)", .whole = true, .names = {"sinks"}};
  left.y = {.label = "share", .min = 0, .max = 1};
  right.x = {.label = "probability of a sink in a later layer", .whole = true, .names = {"P(later | first layer)", "P(later), base rate"}};
  right.y = left.y;
  left.marks.emplace_back(std::move(rates));
  right.marks.emplace_back(std::move(later));
  return {"sinks/sink_comparison", two_panels("Two runs compared", std::move(left), std::move(right))};
}

NamedFigure reuse_figure(std::span<const ReuseVariantRow> rows) {
  const auto panel_of = [&](const std::string& title, const std::string& y, auto get, auto error) {
    plot::Panel panel;
    panel.title = title;
    panel.x = {.label = "in place of a sink head's attention", .whole = true};
    panel.y = {.label = y};
    plot::Bars::Group group{"", {}, {}, plot::colours::key};
    for (const ReuseVariantRow& row : rows) {
      panel.x.names.push_back(row.variant == "first_layer" ? "first layer's pattern"
                              : row.variant == "first_key" ? "all mass on key 0"
                              : row.variant == "zero"      ? "no output"
                                                           : row.variant);
      group.values.push_back(get(row));
      group.errors.push_back(error(row));
    }
    for (const double half : group.errors)
      if (std::isnan(half)) {
        group.errors.clear();
        break;
      }
    panel.marks.emplace_back(plot::Bars{{std::move(group)}});
    return panel;
  };
  const auto none = [](const ReuseVariantRow&) { return std::numeric_limits<double>::quiet_NaN(); };
  plot::Figure figure;
  figure.title = "What is lost, and saved, when sink heads are replaced?";
  figure.columns = 2;
  figure.height = 1100;
  figure.panels = {
      panel_of(
          "Perplexity (lower is better)", "change of perplexity", [](const auto& r) { return r.delta_ppl; },
          [](const auto& r) { return r.delta_ppl_se; }),
      panel_of(
          "Divergence of the predictions (lower is better)", "KL(full || replaced) [nats]",
          [](const auto& r) { return r.kl; }, none),
      panel_of(
          "Same most likely token (higher is better)", "share of tokens",
          [](const auto& r) { return r.top1; }, none),
      panel_of(
          "Time of the forward pass (below 1: faster)", "seconds, relative to full attention",
          [](const auto& r) { return r.seconds / r.seconds_full; }, none)};
  for (size_t i = 1; i < figure.panels.size(); ++i) figure.panels[i].y.min = 0;
  figure.panels[2].y.max = 1;
  figure.panels[3].marks.emplace_back(
      plot::Reference{plot::Reference::Direction::horizontal, 1, "full attention", plot::colours::neutral});
  return {"sinks/reuse_evaluation", std::move(figure)};
}

}  // namespace kvviz::figures
