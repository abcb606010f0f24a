// SPDX-License-Identifier: MIT
#include "kvviz/figures/compress_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/loss_scale.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

std::vector<std::string> families_of(const CompressionStudy& study) {
  std::vector<std::string> names;
  for (const CacheOutcome& o : study.outcomes)
    if (std::ranges::count(names, o.family) == 0) names.push_back(o.family);
  return names;
}

/// From the most bytes to the fewest.
std::vector<const CacheOutcome*> by_bytes(const CompressionStudy& study) {
  std::vector<const CacheOutcome*> order;
  for (const CacheOutcome& o : study.outcomes) order.push_back(&o);
  std::ranges::stable_sort(order, std::greater<>(), [](const CacheOutcome* o) { return o->bytes(); });
  return order;
}

/// More families than colours: those without a point on the frontier go grey.
constexpr size_t distinct_colours = 7;
constexpr plot::Colour beaten{0x9a9a9a};

void add_point(plot::Series& line, const LossScale& scale, const CacheOutcome& o) {
  const plot::ErrorBar bar = scale.bar(loss_of(o));
  line.x.push_back(o.bytes_per_token()), line.y.push_back(scale.shown(o.delta_ppl_percent()));
  line.errors.push_back(bar.below), line.errors_above.push_back(bar.above);
}

plot::Series family_line(const CompressionStudy& study, const LossScale& scale, const std::string& family) {
  plot::Series line;
  line.end_label = family;
  for (const CacheOutcome* o : by_bytes(study)) {
    if (o->family != family) continue;
    line.end_label = line.x.empty() ? o->method : family;
    add_point(line, scale, *o);
    line.strong = line.strong || o->on_frontier;
  }
  line.width = line.strong ? 1.5 : 0.75;
  return line;
}

plot::Series recommended(const Recommendation& recommendation, const LossScale& scale) {
  plot::Series point;
  point.end_label = "recommended, by layer";
  point.marker = plot::Marker::inverted;
  point.colour = plot::colours::text;
  point.strong = true;
  add_point(point, scale, recommendation.outcome);
  return point;
}

/// What to use, in words.
std::string answer(const CompressionStudy& study) {
  std::string text;
  for (const double limit : {0.1, 1.0, 10.0}) {
    const CacheOutcome* best = smallest_within(study, limit);
    if (best == nullptr || best->ratio() <= 1) continue;
    text += fmt::format("{} {:g} %: {} ({:.3g}x{})", text.empty() ? "Change below" : ";", limit, best->method,
                        best->ratio(), text.empty() ? " smaller than f16" : "");
  }
  return text.empty() ? "Bytes against loss" : text;
}

plot::Figure frontier(const CompressionStudy& study) {
  std::vector<Loss> losses;
  for (const CacheOutcome& o : study.outcomes) losses.push_back(loss_of(o));
  if (study.recommendation) losses.push_back(loss_of(study.recommendation->outcome));
  const LossScale scale(losses);
  plot::Panel panel;
  panel.title = answer(study);
  panel.x = {.label = "bytes per token, keys and values of all layers, metadata included",
             .scale = plot::Scale::log10};
  panel.y = scale.axis("increase of perplexity [%] (lower is better)");
  panel.note = "Whiskers: standard error. Rings: the frontier of |change| + standard error." + scale.note();
  plot::Lines lines;
  const std::vector<std::string> families = families_of(study);
  size_t colours = 0, marks = 0;
  for (const std::string& family : families) {
    plot::Series line = family_line(study, scale, family);
    const bool grey = !line.strong && families.size() > distinct_colours;
    set_look(line, grey ? marks++ * distinct_colours : colours++);
    if (grey) line.colour = beaten;
    lines.series.push_back(std::move(line));
  }
  if (study.recommendation) lines.series.push_back(recommended(*study.recommendation, scale));
  plot::Series ring;
  ring.stroke = plot::Stroke::points;
  ring.marker = plot::Marker::ring;
  ring.colour = plot::colours::text;
  std::string caption;
  size_t broken = 0;
  for (const CacheOutcome* o : by_bytes(study)) {
    if (!o->on_frontier) continue;
    const double loss = o->delta_ppl_percent();
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
    const CacheOutcome& first = study.outcomes.front();
    panel.marks.emplace_back(plot::Reference{plot::Reference::Direction::vertical,
                                             first.f16_bytes / first.tokens, "the cache in f16",
                                             plot::colours::text});
  }
  plot::Figure figure;
  figure.title = "What do fewer bytes cost?";
  figure.caption = caption + ".";
  if (study.when == "after the prefix")
    figure.caption += " The cache is changed once; what the model reads after it is kept as it is.";
  figure.height = study.outcomes.size() > 20 ? 1150 : 900;
  figure.panels = {std::move(panel)};
  return figure;
}

plot::Figure errors(const CompressionStudy& study) {
  std::vector<MatrixEntry> entries;
  std::vector<std::string> names;
  for (const CacheOutcome* o : by_bytes(study)) {
    for (const CacheOutcomeLayer& layer : o->layers)
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

/// One side's error against bytes, of a cache without a model.
plot::Panel distortion(const CompressionStudy& study, const char* side, double CacheOutcome::*error) {
  plot::Panel panel;
  panel.title = side;
  panel.x = {.label = "bytes per token, keys and values of all layers", .scale = plot::Scale::log10};
  constexpr double most = 1;
  panel.y = {.label = "relative error (lower is better)", .min = 0, .max = most};
  plot::Lines lines;
  size_t number = 0;
  for (const std::string& family : families_of(study)) {
    plot::Series line;
    set_look(line, number++);
    line.end_label = family;
    line.width = 0.75;
    for (const CacheOutcome* o : by_bytes(study)) {
      if (o->family != family) continue;
      line.x.push_back(o->bytes_per_token());
      line.y.push_back(std::min(o->*error, most));
      if (o->*error > most) panel.y.ceiling = most;
    }
    lines.series.push_back(std::move(line));
  }
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

plot::Figure distortions(const CompressionStudy& study) {
  plot::Figure figure;
  figure.title = "What do fewer bytes do to keys and values?";
  figure.caption =
      "|restored - x| / |x|, mean over layers; above 1 drawn at 1. Errors of keys do not rank methods by "
      "what "
      "the model loses: that takes the model.";
  figure.width = 2200;
  figure.height = 1000;
  figure.columns = 2;
  figure.panels = {distortion(study, "Keys", &CacheOutcome::key_error),
                   distortion(study, "Values", &CacheOutcome::value_error)};
  return figure;
}

}  // namespace

std::vector<NamedFigure> compress_figures(const CompressionStudy& study, const std::string& what) {
  std::string subtitle =
      study.when.empty() ? (what.empty() ? "" : what + "; ") : over_texts(what, study.texts);
  std::vector<NamedFigure> figures;
  if (study.when.empty()) {
    subtitle += fmt::format("a cache of {} tokens, {} coded", study.tokens, study.sides);
    figures.push_back({"compress/rate_distortion", distortions(study)});
  } else {
    const CacheOutcome& first = study.outcomes.front();
    subtitle += fmt::format(
        "caches of {:.4g} tokens, {} coded {}, keys {}; {} predictions; perplexity {:.4g} with "
        "the "
        "cache as it is",
        first.tokens, study.sides, study.when, study.key_basis, first.predictions, study.full_ppl);
    figures.push_back({"compress/frontier", frontier(study)});
    figures.push_back({"compress/error_by_layer", errors(study)});
  }
  for (NamedFigure& named : figures) named.figure.subtitle = subtitle;
  return figures;
}

}  // namespace kvviz::figures
