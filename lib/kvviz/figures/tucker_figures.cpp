// SPDX-License-Identifier: MIT
#include "kvviz/figures/tucker_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/loss_scale.hpp"
#include "kvviz/figures/tucker_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

bool has_half(const TuckerStudy& study, Half half) {
  return std::ranges::any_of(study.parts, [&](const TuckerPart& part) { return part.half == half; });
}

std::string half_label(const TuckerStudy& study, Half half) {
  return half == Half::key ? keys_label(study, study.basis) : "values";
}

plot::Panel errors_by_layer(const TuckerStudy& study) {
  plot::Lines lines;
  for (const Half half : {Half::key, Half::value}) {
    if (!has_half(study, half)) continue;
    const plot::Colour colour = half == Half::key ? plot::colours::key : plot::colours::value;
    const TuckerTotal sum = total(study.parts, half);
    plot::Series line{.label = fmt::format("{} (all layers: {:.3f})", half_label(study, half), sum.error)};
    line.colour = colour;
    plot::Series best{.label =
                          half_label(study, half) + ", HOSVD at the ranks of its least error of this size"};
    best.colour = colour;
    best.stroke = plot::Stroke::dashed;
    best.marker = plot::Marker::none;
    best.width = 0.6;
    for (const TuckerPart& part : study.parts) {
      if (part.half != half) continue;
      line.x.push_back(part.layer), line.y.push_back(part.error());
      best.x.push_back(part.layer), best.y.push_back(part.best_error());
    }
    lines.series.push_back(std::move(line));
    lines.series.push_back(std::move(best));
  }
  plot::Panel panel;
  panel.title = "Error of the approximation";
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "|X - approximation| / |X| (lower is better)", .min = 0};
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

plot::Panel loss_by_layer(const TuckerStudy& study) {
  plot::Bars::Group group;
  group.colour = plot::colours::neutral;
  for (const CacheOutcome& outcome : study.sensitivity) {
    group.values.push_back(outcome.delta_ppl_percent());
    group.errors.push_back(outcome.delta_ppl_percent_se());
  }
  const bool bars = std::ranges::all_of(group.errors, [](double e) { return std::isfinite(e); });
  if (!bars) group.errors.clear();
  plot::Panel panel;
  panel.title = "Loss when this layer alone is decomposed";
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "increase of perplexity [%] (lower is better)"};
  panel.marks.emplace_back(plot::Bars{{std::move(group)}});
  panel.note = bars ? "Whiskers: standard error." : "";
  return panel;
}

plot::Figure layer_sensitivity(const TuckerStudy& study) {
  plot::Figure figure;
  figure.title = "Which layers lose most?";
  figure.panels.push_back(errors_by_layer(study));
  if (!study.sensitivity.empty()) {
    figure.panels.push_back(loss_by_layer(study));
    figure.columns = 2;
    double sum = 0;
    for (const CacheOutcome& outcome : study.sensitivity) sum += outcome.delta_ppl_percent();
    const CacheOutcome& all = study.outcomes.front().outcome;
    figure.caption = fmt::format("All layers at once: {} perplexity; the layers alone add up to {}.",
                                 percent_label(all.delta_ppl_percent()), percent_label(sum));
  }
  figure.height = 720;
  return figure;
}

}  // namespace

std::string ranks_label(const TuckerStudy& study) {
  const auto text = [&](Half half) {
    std::string ranks;
    for (size_t mode = 0; mode < tucker_modes.size(); ++mode) {
      double least = INFINITY, most = 0;
      for (const TuckerPart& part : study.parts) {
        if (part.half != half) continue;
        least = std::min(least, part.ranks[mode]), most = std::max(most, part.ranks[mode]);
      }
      ranks += fmt::format("{}{:.4g}", mode == 0 ? "" : " x ", least);
      if (most > least) ranks += fmt::format("-{:.4g}", most);
    }
    return ranks;
  };
  if (!has_half(study, Half::value)) return text(Half::key);
  const std::string values = text(Half::value);
  if (!has_half(study, Half::key) || text(Half::key) == values) return values;
  return fmt::format("{} (keys), {} (values)", text(Half::key), values);
}

namespace {

/// What was measured on what; `ranks`: how it was decomposed.
std::string subtitle_of(const TuckerStudy& study, const std::string& what, const std::string& ranks) {
  std::string text = what.empty() ? "" : what + "; ";
  text += fmt::format("{} cache{} of {:.4g} tokens, {}{}", study.caches, study.caches == 1 ? "" : "s",
                      study.tokens, study.sides, ranks);
  if (study.has_model)
    text += fmt::format("; {} predictions, perplexity {:.4g} with the cache as it is",
                        study.outcomes.front().outcome.predictions, study.full_ppl);
  return text;
}

}  // namespace

std::string keys_label(const TuckerStudy& study, KeyBasis basis) {
  if (!study.has_rope) return "keys";
  return basis == KeyBasis::pre_rope ? "keys before RoPE" : "keys after RoPE";
}

std::vector<NamedFigure> tucker_figures(const TuckerStudy& study, const std::string& what) {
  std::vector<NamedFigure> figures;
  if (!study.components.empty()) figures.push_back({"tucker/tucker_components", tucker_components(study)});
  figures.push_back({"tucker/layer_sensitivity", layer_sensitivity(study)});
  figures.push_back({"tucker/error_curves", tucker_error_curves(study)});
  const std::string method = study.method == "hooi" ? "HOOI" : "HOSVD";
  std::string ranks = fmt::format(", {} at ranks {} (heads x tokens x channels)", method, ranks_label(study));
  if (study.has_rope && has_half(study, Half::key)) ranks += ", " + keys_label(study, study.basis);
  if (!study.has_rope) ranks += ", no RoPE";
  for (NamedFigure& named : figures) named.figure.subtitle = subtitle_of(study, what, ranks);
  if (study.sweep.empty()) return figures;
  figures.push_back({"tucker/rank_sensitivity", tucker_rank_sensitivity(study)});
  figures.push_back({"tucker/frontier", tucker_frontier(study)});
  for (size_t i = figures.size() - 2; i < figures.size(); ++i)
    figures[i].figure.subtitle = subtitle_of(study, what, ", " + method);
  return figures;
}

}  // namespace kvviz::figures
