// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kvviz/figures/sink_parts.hpp"

namespace kvviz::figures {
namespace {

using namespace analysis;

/// The longest text up to `longest` on which uniform attention alone is above the threshold; 0: none.
int64_t uniform_limit(double threshold, int64_t longest) {
  double harmonic = 0;
  int64_t last = 0;
  for (int64_t n = 1; n <= longest; ++n) {
    harmonic += 1 / static_cast<double>(n);
    if (!(harmonic / static_cast<double>(n) > threshold)) break;
    last = n;
  }
  return last;
}

/// Where uniform attention would be a sink in every head, a rate says nothing.
void add_uniform_limit(plot::Panel& panel, double threshold, int64_t shortest, int64_t longest) {
  const int64_t last = uniform_limit(threshold, longest);
  if (last < shortest) return;
  const std::string where = last < longest ? fmt::format("up to {} tokens", last) : "at all these lengths";
  panel.marks.emplace_back(plot::Reference{plot::Reference::Direction::vertical, static_cast<double>(last),
                                           where + " uniform attention is a sink too",
                                           plot::colours::neutral});
}

/// The standard error of a share, where there is one.
void add_error(plot::Band& band, double x, const Spread& share) {
  const double se = share.standard_error();
  if (std::isnan(se)) return;
  band.x.push_back(x);
  band.low.push_back(std::max(0.0, share.mean - se));
  band.high.push_back(std::min(1.0, share.mean + se));
}

plot::Panel rate_panel(const SinkSummary& s, double threshold) {
  plot::Series rate{"mean over texts", {}, {}, query_heads};
  plot::Band error{"± standard error", {}, {}, {}, query_heads};
  double largest = 0;
  for (const LengthPoint& point : s.by_length) {
    const auto n = static_cast<double>(point.length);
    rate.x.push_back(n), rate.y.push_back(point.rate.mean);
    largest = std::max(largest, point.rate.mean);
    add_error(error, n, point.rate);
  }
  plot::Panel panel;
  panel.title = fmt::format("Sink heads: alpha_k > {}", plain_number(threshold));
  panel.x = {.label = "tokens T", .scale = plot::Scale::log10};
  panel.y = share_axis("sink rate", largest);
  if (!error.x.empty()) panel.marks.emplace_back(std::move(error));
  panel.marks.emplace_back(plot::Lines{{std::move(rate)}});
  if (!std::isnan(s.by_length.front().uniform))
    add_uniform_limit(panel, threshold, s.by_length.front().length, s.by_length.back().length);
  return panel;
}

plot::Panel alpha_panel(const SinkSummary& s) {
  plot::Series alpha{"mean over heads and texts", {}, {}, query_heads};
  plot::Band error{"± standard error", {}, {}, {}, query_heads};
  plot::Series uniform{"uniform attention", {}, {}, plot::colours::neutral, plot::Stroke::dashed};
  for (const LengthPoint& point : s.by_length) {
    const auto n = static_cast<double>(point.length);
    alpha.x.push_back(n), alpha.y.push_back(point.alpha.mean);
    add_error(error, n, point.alpha);
    if (!std::isnan(point.uniform)) uniform.x.push_back(n), uniform.y.push_back(point.uniform);
  }
  plot::Panel panel;
  panel.title = "Mean alpha_k";
  panel.x = {.label = "tokens T", .scale = plot::Scale::log10};
  panel.y = {.label = "alpha_k", .min = 0};
  plot::Lines lines{{std::move(alpha)}};
  if (!uniform.x.empty()) {
    panel.note = "Uniform attention falls with the length by itself; a sink is what stays above it.";
    lines.series.push_back(std::move(uniform));
  }
  if (!error.x.empty()) panel.marks.emplace_back(std::move(error));
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

plot::Figure by_length(const SinkSummary& s) {
  const double threshold =
      s.rule.metric == SinkMetric::alpha ? s.rule.threshold : info_of(SinkMetric::alpha).threshold;
  return two_panels("Sinks against sequence length", rate_panel(s, threshold), alpha_panel(s));
}

plot::Figure by_text_length(const SinkStudy& study, const SinkRule& rule) {
  plot::Series rates{"a text", {}, {}, query_heads, plot::Stroke::points};
  double largest = 0;
  int64_t shortest = study.prompts.front().tokens, longest = shortest;
  for (const PromptSinks& prompt : study.prompts) {
    double sinks = 0, known = 0;
    for (const double score : prompt.score[static_cast<size_t>(rule.metric)]) {
      sinks += rule.holds(score) ? 1 : 0;
      known += std::isnan(score) ? 0 : 1;
    }
    const double rate = known > 0 ? sinks / known : kNone;
    rates.x.push_back(static_cast<double>(prompt.tokens)), rates.y.push_back(rate);
    largest = std::max(largest, rate);
    shortest = std::min(shortest, prompt.tokens), longest = std::max(longest, prompt.tokens);
  }
  plot::Panel panel;
  panel.title = fmt::format("Sink heads: {} {}", info_of(rule.metric).label, limit(rule));
  panel.x = {.label = "tokens of the text", .whole = true};
  panel.y = share_axis("sink rate", largest);
  panel.marks.emplace_back(plot::Lines{{std::move(rates)}});
  if (rule.metric == SinkMetric::share0) add_uniform_limit(panel, rule.threshold, shortest, longest);
  return one_panel("Sinks against sequence length", std::move(panel));
}

struct Kind {
  const char* label;
  plot::Colour colour;
};
constexpr std::array<Kind, token_kind_count> kinds{{{"BOS", plot::colours::sink},
                                                    {"newline", {0xe69f00}},
                                                    {"punctuation, symbols", {0x009e73}},
                                                    {"other tokens", plot::colours::neutral}}};

struct NormFields {
  double LayerSinks::*first;
  double LayerSinks::*sinks;
  double LayerSinks::*rest;
};

plot::Panel norm_panel(const std::string& title, std::span<const LayerSinks> layers,
                       const NormFields& fields) {
  plot::Lines lines;
  const auto add = [&](plot::Series series, double LayerSinks::*norm) {
    for (const LayerSinks& layer : layers) {
      if (std::isnan(layer.*norm)) continue;
      series.x.push_back(static_cast<double>(layer.layer));
      series.y.push_back(layer.*norm);
    }
    if (!series.x.empty()) lines.series.push_back(std::move(series));
  };
  add({"first token", {}, {}, plot::colours::sink}, fields.first);
  add({"sink keys, mean", {}, {}, query_heads, plot::Stroke::dashed}, fields.sinks);
  add({"all but the first, median", {}, {}, plot::colours::neutral}, fields.rest);
  plot::Panel panel = layer_axes(title, "L2 norm, mean over KV heads");
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

}  // namespace

plot::Figure length_figure(const SinkFigureInput& input) {
  return input.summary->by_length.empty() ? by_text_length(*input.study, input.summary->rule)
                                          : by_length(*input.summary);
}

plot::Figure sweep_figure(const SinkSummary& s) {
  plot::Lines lines;
  lines.series = {{query_heads_label, {}, {}, query_heads},
                  {query_heads_of_mean_label, {}, {}, query_heads_of_mean, plot::Stroke::dashed},
                  {kv_groups_label, {}, {}, kv_groups}};
  for (const ThresholdPoint& point : s.sweep) {
    const double rates[] = {point.rate, point.rate_of_mean, point.group_rate};
    for (size_t i = 0; i < 3; ++i) {
      lines.series[i].x.push_back(point.threshold);
      lines.series[i].y.push_back(rates[i]);
    }
  }
  const SinkMetricInfo& info = info_of(s.rule.metric);
  plot::Panel panel;
  panel.title =
      info.inclusive ? "Share of heads at or above the threshold" : "Share of heads above the threshold";
  panel.x = {.label = fmt::format("threshold of {}", info.label),
             .scale = info.is_share ? plot::Scale::linear : plot::Scale::log10};
  if (info.is_share) panel.x.min = 0, panel.x.max = 1;
  panel.y = {.label = "share of heads", .min = 0, .max = 1};
  panel.marks.emplace_back(std::move(lines));
  panel.marks.emplace_back(threshold_line(s.rule, plot::Reference::Direction::vertical));
  return one_panel("The sink rate depends on the threshold", std::move(panel));
}

plot::Figure token_kinds_figure(std::span<const LayerSinks> layers) {
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

plot::Figure sink_keys_figure(const SinkSummary& s) {
  const std::pair<const char*, plot::Colour> looks[sink_counts.size()] = {
      {"sink keys (exposure corrected)", query_heads},
      {"column sinks (column mean)", kv_groups},
      {"heavy hitters (column mean)", query_heads_of_mean}};
  plot::Panel panel =
      layer_axes("Keys that stand out, per query head and text", "keys, mean over heads and texts");
  panel.note =
      "Column means divide by all queries, also those before the key: early keys of short texts stand out.";
  plot::Bars bars;
  plot::Lines lines;
  constexpr size_t most_bars = 48;
  for (size_t c = 0; c < sink_counts.size(); ++c) {
    plot::Bars::Group group{looks[c].first, std::vector<double>(s.layers.size(), 0.0), {}, looks[c].second};
    std::vector<double> heads(s.layers.size(), 0.0);
    for (const StudyHead& head : s.heads) {
      group.values[static_cast<size_t>(head.name.layer)] += head.counts[c].mean;
      ++heads[static_cast<size_t>(head.name.layer)];
    }
    for (size_t l = 0; l < heads.size(); ++l) group.values[l] /= heads[l];
    lines.series.push_back({group.label, indices(group.values.size()), group.values, group.colour});
    bars.groups.push_back(std::move(group));
  }
  if (s.layers.size() <= most_bars)
    panel.marks.emplace_back(std::move(bars));
  else
    panel.marks.emplace_back(std::move(lines));
  return one_panel("How many keys does a head rest on?", std::move(panel));
}

plot::Figure norms_figure(std::span<const LayerSinks> layers) {
  plot::Panel values = norm_panel(
      "Values", layers, {&LayerSinks::v_norm_first, &LayerSinks::v_norm_sinks, &LayerSinks::v_norm_rest});
  values.note = "The smaller the value of a token, the less a head that rests on it adds.";
  return two_panels(
      "Keys and values of the first token and of sink keys",
      norm_panel("Keys", layers,
                 {&LayerSinks::k_norm_first, &LayerSinks::k_norm_sinks, &LayerSinks::k_norm_rest}),
      std::move(values));
}

}  // namespace kvviz::figures
