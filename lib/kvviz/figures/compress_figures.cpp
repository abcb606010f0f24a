// SPDX-License-Identifier: MIT
#include "kvviz/figures/compress_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/loss_scale.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

double loss_percent(const CompressionStudy& study, const CodecOutcome& o) {
  return 100 * o.delta_ppl / study.full_ppl;
}

double error_percent(const CompressionStudy& study, const CodecOutcome& o) {
  return 100 * o.delta_ppl_se / study.full_ppl;
}

std::vector<std::string> families_of(const CompressionStudy& study) {
  std::vector<std::string> names;
  for (const CodecOutcome& o : study.outcomes)
    if (std::ranges::count(names, o.family) == 0) names.push_back(o.family);
  return names;
}

/// From the most bytes to the fewest.
std::vector<const CodecOutcome*> by_bytes(const CompressionStudy& study) {
  std::vector<const CodecOutcome*> order;
  for (const CodecOutcome& o : study.outcomes) order.push_back(&o);
  std::ranges::stable_sort(order, std::greater<>(), [](const CodecOutcome* o) { return o->bytes(); });
  return order;
}

plot::Series family_line(const CompressionStudy& study, const LossScale& scale, const std::string& family,
                         size_t number) {
  plot::Series line;
  set_look(line, number);
  line.end_label = family;
  line.width = 0.75;
  for (const CodecOutcome* o : by_bytes(study)) {
    if (o->family != family) continue;
    const double loss = loss_percent(study, *o);
    const plot::ErrorBar bar = scale.bar(loss, error_percent(study, *o));
    line.x.push_back(o->bytes_per_token()), line.y.push_back(scale.shown(loss));
    line.errors.push_back(bar.below), line.errors_above.push_back(bar.above);
    line.strong = line.strong || o->on_frontier;
  }
  if (line.strong) line.width = 1.5;
  return line;
}

/// What to use, in words.
std::string answer(const CompressionStudy& study) {
  std::string text;
  for (const double limit : {0.1, 1.0, 10.0}) {
    const CodecOutcome* best = smallest_within(study, limit);
    if (best == nullptr) continue;
    text += fmt::format("{} {:g} %: {} ({:.3g}x smaller than f16)", text.empty() ? "Less than" : ";", limit,
                        best->method, best->ratio());
  }
  return text.empty() ? "Bytes against loss" : text;
}

plot::Figure frontier(const CompressionStudy& study) {
  std::vector<double> losses;
  for (const CodecOutcome& o : study.outcomes) losses.push_back(loss_percent(study, o));
  const LossScale scale(losses);
  plot::Panel panel;
  panel.title = answer(study);
  panel.x = {.label = "bytes per token, keys and values of all layers, metadata included",
             .scale = plot::Scale::log10};
  panel.y = scale.axis("increase of perplexity [%] (lower is better)");
  panel.note = fmt::format(
      "Bars: standard error. Rings: no method loses less with as few bytes. At ≤ {:g} %: all that lose no "
      "more, or gain.{}",
      scale.floor(), scale.capped() ? " At the top: all that lose more." : "");
  plot::Lines lines;
  const std::vector<std::string> families = families_of(study);
  for (size_t f = 0; f < families.size(); ++f)
    lines.series.push_back(family_line(study, scale, families[f], f));
  plot::Series ring;
  ring.stroke = plot::Stroke::points;
  ring.marker = plot::Marker::ring;
  ring.colour = plot::colours::text;
  std::string caption;
  size_t broken = 0;
  for (const CodecOutcome* o : by_bytes(study)) {
    if (!o->on_frontier) continue;
    const double loss = loss_percent(study, *o);
    ring.x.push_back(o->bytes_per_token()), ring.y.push_back(scale.shown(loss));
    if (loss > 100) {
      ++broken;
      continue;
    }
    caption += fmt::format("{}{} ({:.3g}x smaller than f16, {})", caption.empty() ? "Frontier: " : "; ",
                           o->method, o->ratio(), percent_label(loss));
  }
  if (broken > 0)
    caption += fmt::format("{}{} that more than double the perplexity", caption.empty() ? "Frontier: " : "; ",
                           broken);
  if (!ring.x.empty()) lines.series.push_back(std::move(ring));
  panel.marks.emplace_back(std::move(lines));
  if (!study.outcomes.empty()) {
    const CodecOutcome& first = study.outcomes.front();
    panel.marks.emplace_back(plot::Reference{plot::Reference::Direction::vertical,
                                             first.f16_bytes / first.tokens, "the cache in f16",
                                             plot::colours::text});
  }
  plot::Figure figure;
  figure.title = "What do fewer bytes cost?";
  figure.caption = caption + ".";
  figure.height = 900;
  figure.panels = {std::move(panel)};
  return figure;
}

plot::Figure errors(const CompressionStudy& study) {
  std::vector<MatrixEntry> entries;
  std::vector<std::string> names;
  for (const CodecOutcome* o : by_bytes(study)) {
    for (const CodecLayer& layer : o->layers)
      entries.push_back({static_cast<int64_t>(names.size()), layer.layer, layer.output_error});
    names.push_back(o->method);
  }
  plot::Heatmap map = matrix(entries, "relative error");
  map.z_min = 0;
  map.z_max = 1;
  plot::Panel panel;
  panel.title = "Error of the attention output";
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "", .whole = true, .names = names};
  panel.marks.emplace_back(std::move(map));
  plot::Figure figure;
  figure.title = "Where do codes of the cache hurt?";
  figure.caption =
      "|output - full output| / |full output|, mean over heads, errors of the layers before included. From "
      "the most bytes (top) "
      "to the fewest. Colours end at 1.";
  figure.height = static_cast<int>(240 + 24 * std::max<size_t>(names.size(), 8));
  figure.panels = {std::move(panel)};
  return figure;
}

}  // namespace

std::vector<NamedFigure> compress_figures(const CompressionStudy& study, const std::string& what) {
  std::string subtitle = what.empty() ? "" : what + "; ";
  if (!study.outcomes.empty())
    subtitle += fmt::format(
        "{} text{}, caches of {:.4g} tokens, {} coded; {} predictions; perplexity {:.4g} with the cache as "
        "it is",
        study.texts, study.texts == 1 ? "" : "s", study.outcomes.front().tokens, study.sides,
        study.outcomes.front().predictions, study.full_ppl);
  std::vector<NamedFigure> figures{{"compress/frontier", frontier(study)},
                                   {"compress/error_by_layer", errors(study)}};
  for (NamedFigure& named : figures) named.figure.subtitle = subtitle;
  return figures;
}

}  // namespace kvviz::figures
