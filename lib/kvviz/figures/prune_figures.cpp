// SPDX-License-Identifier: MIT
#include "kvviz/figures/prune_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/loss_scale.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

std::vector<std::string> names_of(const std::vector<const PruneVariant*>& variants) {
  std::vector<std::string> names;
  for (const PruneVariant* v : variants) names.push_back(v->outcome.method);
  return names;
}

plot::Panel bar_panel(const std::string& title, const std::string& label, plot::Bars bars,
                      const std::vector<std::string>& names) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "removed", .whole = true, .names = names};
  panel.y = {.label = label};
  panel.marks.emplace_back(std::move(bars));
  return panel;
}

plot::Panel loss_panel(const std::vector<const PruneVariant*>& variants) {
  std::vector<Loss> losses;
  for (const PruneVariant* v : variants) losses.push_back(loss_of(v->outcome));
  const LossScale scale(losses);
  plot::Bars::Group bars{.label = ""};
  std::vector<plot::Note> labels;
  for (size_t i = 0; i < variants.size(); ++i) {
    const plot::ErrorBar error = scale.bar(losses[i]);
    bars.values.push_back(scale.shown(losses[i].percent));
    bars.errors.push_back(error.below), bars.errors_above.push_back(error.above);
    labels.push_back({static_cast<double>(i), bars.values.back(), percent_label(losses[i].percent), true});
  }
  plot::Panel panel = bar_panel("Loss", "", {.groups = {std::move(bars)}}, names_of(variants));
  panel.y = scale.axis("increase of perplexity [%]");
  // Room for a number on a bar.
  if (panel.y.scale == plot::Scale::log10)
    panel.y.max = *panel.y.max * std::pow(*panel.y.max / *panel.y.min, 0.15);
  else
    panel.y.max = *panel.y.max + 0.15 * (*panel.y.max - *panel.y.min);
  panel.note = "Lower is better. Whiskers: paired standard error." + scale.note();
  panel.marks.insert(panel.marks.end(), labels.begin(), labels.end());
  return panel;
}

plot::Panel bytes_panel(const std::vector<const PruneVariant*>& variants) {
  plot::Bars::Group payload{.label = "keys and values"};
  plot::Bars::Group metadata{.label = "positions and bitmaps", .colour = plot::colours::neutral};
  for (const PruneVariant* v : variants) {
    payload.values.push_back(v->outcome.payload_bytes / v->outcome.tokens);
    metadata.values.push_back(v->outcome.metadata_bytes / v->outcome.tokens);
  }
  const CacheOutcome& first = variants.front()->outcome;
  plot::Panel panel =
      bar_panel("Bytes", "bytes per token in f16",
                {.groups = {std::move(payload), std::move(metadata)}, .stacked = true}, names_of(variants));
  panel.marks.emplace_back(plot::Reference{.at = first.f16_bytes / first.tokens, .label = "the whole cache"});
  return panel;
}

plot::Panel time_panel(const std::vector<const PruneVariant*>& variants) {
  plot::Bars::Group full{.label = "full cache", .colour = plot::colours::neutral};
  plot::Bars::Group pruned{.label = "pruned cache"};
  int64_t steps = 0;
  for (const PruneVariant* v : variants) {
    steps = std::max(steps, v->steps);
    for (const auto& [group, time] : {std::pair{&full, &v->full_time}, {&pruned, &v->time}}) {
      group->values.push_back(time->median);
      group->errors.push_back(time->median - time->lower);
      group->errors_above.push_back(time->upper - time->median);
    }
  }
  plot::Panel panel = bar_panel("Decoding", "time of a token [ms]",
                                {.groups = {std::move(full), std::move(pruned)}}, names_of(variants));
  panel.note = fmt::format(
      "Medians of {} tokens, both caches in turn; whiskers: quartiles. None where no KV head holds fewer "
      "tokens.",
      steps);
  return panel;
}

plot::Figure variants_figure(const PruningStudy& study) {
  std::vector<const PruneVariant*> variants;
  bool timed = false;
  for (size_t i = 1; i < study.variants.size(); ++i) {
    variants.push_back(&study.variants[i]);
    timed = timed || std::isfinite(study.variants[i].time.median);
  }
  plot::Figure figure;
  figure.title = "What does a smaller cache cost?";
  if (variants.empty()) variants.push_back(&study.variants.front());
  if (variants.size() > 1) figure.caption = "all: the removals to its left together.";
  figure.panels = {loss_panel(variants), bytes_panel(variants)};
  if (timed) figure.panels.push_back(time_panel(variants));
  figure.height = 120 + 360 * static_cast<int>(figure.panels.size());
  return figure;
}

plot::Figure errors_figure(const PruningStudy& study) {
  std::vector<MatrixEntry> entries;
  std::vector<std::string> names;
  for (size_t i = 1; i < study.variants.size(); ++i) {
    for (const CacheOutcomeLayer& layer : study.variants[i].outcome.layers)
      entries.push_back({static_cast<int64_t>(names.size()), layer.layer, layer.output_error});
    names.push_back(study.variants[i].outcome.method);
  }
  plot::Heatmap map = matrix(entries, "relative error");
  map.z_min = 0;
  plot::Panel panel;
  panel.title = "Error of the attention output";
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "removed", .whole = true, .names = names};
  panel.marks.emplace_back(std::move(map));
  plot::Figure figure;
  figure.title = "Where does the removal hurt?";
  figure.caption =
      "|output - full output| / |full output|, mean over heads, errors of the layers before included. 1: as "
      "if "
      "it were silent.";
  figure.height = static_cast<int>(320 + 60 * std::max<size_t>(names.size(), 2));
  figure.panels = {std::move(panel)};
  return figure;
}

}  // namespace

std::vector<NamedFigure> prune_figures(const PruningStudy& study, const std::string& what) {
  std::string subtitle = over_texts(what, study.texts);
  const CacheOutcome& first = study.variants.front().outcome;
  subtitle +=
      fmt::format("caches of {:.4g} tokens; {} predictions; perplexity {:.4g} with the cache as it is",
                  first.tokens, first.predictions, study.full_ppl);
  std::vector<NamedFigure> figures{{"prune/variants", variants_figure(study)},
                                   {"prune/error_by_layer", errors_figure(study)}};
  for (NamedFigure& named : figures) named.figure.subtitle = subtitle;
  return figures;
}

}  // namespace kvviz::figures
