// SPDX-License-Identifier: MIT
#include "kvviz/figures/generation_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/plot/text.hpp"

namespace kvviz::figures {
namespace {

using namespace analysis;

constexpr double kCaptionWidth = 2400, kCaptionSize = 13;  // about two lines
constexpr plot::Colour kPrompt{0x56b4e9}, kGenerated{0x009e73}, kSelf{0xe69f00};

using StageValue = std::function<double(const GenerationStage&)>;

plot::Bars::Group bars(const GenerationResult& cache, const std::string& label, const StageValue& value,
                       plot::Colour colour) {
  plot::Bars::Group out{label, {}, {}, colour};
  for (const GenerationStage& stage : cache.stages) out.values.push_back(value(stage));
  return out;
}

plot::Panel stage_panel(const GenerationResult& cache, const std::string& title, const std::string& y_label,
                        std::vector<plot::Bars::Group> groups) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "stage (tokens in the cache)"};
  for (const GenerationStage& stage : cache.stages)
    panel.x.names.push_back(fmt::format("{} ({})", stage.name, stage.tokens));
  panel.y = {.label = y_label, .min = 0};
  panel.marks.emplace_back(plot::Bars{std::move(groups)});
  return panel;
}

plot::Panel part_panel(const GenerationResult& cache, StageHalf GenerationStage::*half,
                       double PartStats::*value, const std::string& title, const std::string& y_label) {
  const bool key = half == &GenerationStage::key;
  return stage_panel(cache, title, y_label,
                     {bars(
                          cache, "prompt", [=](const auto& s) { return (s.*half).prompt.*value; },
                          key ? plot::colours::key : plot::colours::value),
                      bars(
                          cache, "generated tokens",
                          [=](const auto& s) { return (s.*half).generated.*value; }, kGenerated)});
}

std::vector<double> numbered(size_t n) {
  std::vector<double> x = indices(n);
  for (double& i : x) ++i;
  return x;
}

template <class Get>
plot::Series line(const GenerationStudy& study, const std::string& label, plot::Colour colour, Get get) {
  plot::Series series{.label = label, .x = numbered(study.steps.size()), .y = {}, .colour = colour};
  for (size_t i = 0; i < study.steps.size(); ++i) series.y.push_back(get(i));
  return series;
}

plot::Series thin(plot::Series series) {
  series.marker = plot::Marker::none;
  return series;
}

plot::Axis step_axis() {
  return {.label = "generated token", .whole = true};
}

plot::Panel attention_panel(const GenerationStudy& study) {
  plot::Panel panel;
  panel.title = "Where each generated token looks";
  panel.x = step_axis();
  panel.y = {.label = "share of attention", .min = 0, .max = 1};
  const auto share = [&](const char* label, double AttentionShares::*part, plot::Colour colour) {
    return thin(line(study, label, colour, [&](size_t i) { return mean_shares(study.steps[i]).*part; }));
  };
  plot::Series uniform =
      thin(line(study, "prompt, if all keys were alike", plot::colours::neutral,
                [&](size_t i) { return study.steps[i].uniform.first + study.steps[i].uniform.prompt; }));
  uniform.stroke = plot::Stroke::dashed;
  panel.marks.emplace_back(plot::Lines{{share("first token", &AttentionShares::first, plot::colours::sink),
                                        share("rest of the prompt", &AttentionShares::prompt, kPrompt),
                                        share("generated before", &AttentionShares::generated, kGenerated),
                                        share("itself", &AttentionShares::self, kSelf), uniform}});
  panel.note = "mean over layers and query heads; the four parts sum to 1";
  return panel;
}

plot::Panel distance_panel(const GenerationStudy& study) {
  plot::Panel panel;
  panel.title = "Generated keys and values against the prompt's";
  panel.x = step_axis();
  panel.y = {.label = "distance from the prompt's mean / spread"};
  panel.marks.emplace_back(
      plot::Lines{{thin(line(study, "keys (before RoPE)", plot::colours::key,
                             [&](size_t i) { return study.cache.tokens[i].k_distance; })),
                   thin(line(study, "values", plot::colours::value,
                             [&](size_t i) { return study.cache.tokens[i].v_distance; }))}});
  panel.marks.emplace_back(
      plot::Reference{.at = 1, .label = "the prompt's own tokens", .colour = plot::colours::neutral});
  panel.note = "mean over layers and KV heads";
  return panel;
}

plot::Panel bytes_panel(const GenerationStudy& study) {
  plot::Panel panel;
  panel.title = "Cache";
  panel.x = step_axis();
  panel.y = {.label = "keys and values (MiB)", .min = 0};
  panel.marks.emplace_back(
      plot::Lines{{thin(line(study, "full cache, as held", plot::colours::text, [&](size_t i) {
        return static_cast<double>(study.steps[i].bytes) / (1 << 20);
      }))}});
  return panel;
}

plot::Panel probability_panel(const GenerationStudy& study) {
  plot::Panel panel;
  panel.title = "How sure the model was";
  panel.x = step_axis();
  panel.y = {.label = "probability of the token", .min = 0, .max = 1};
  plot::Series dots =
      line(study, "", plot::colours::text, [&](size_t i) { return study.steps[i].probability; });
  dots.stroke = plot::Stroke::points;
  panel.marks.emplace_back(plot::Lines{{std::move(dots)}});
  return panel;
}

plot::Panel speed_panel(const GenerationStudy& study) {
  plot::Panel panel;
  panel.title = "Speed";
  panel.x = step_axis();
  panel.y = {.label = "tokens/s", .min = 0};
  plot::Series dots =
      line(study, "", plot::colours::text, [&](size_t i) { return 1 / study.steps[i].seconds; });
  dots.stroke = plot::Stroke::points;
  panel.marks.emplace_back(plot::Lines{{std::move(dots)}});
  panel.note = "measured on this machine, statistics included";
  return panel;
}

NamedFigure steps_figure(const GenerationStudy& study) {
  plot::Figure figure;
  figure.title = "Token by token";
  figure.columns = 2;
  figure.panels = {attention_panel(study), distance_panel(study), probability_panel(study),
                   std::isnan(study.step_seconds()) ? bytes_panel(study) : speed_panel(study)};
  return {"generation/steps", std::move(figure)};
}

NamedFigure layers_figure(const GenerationStudy& study) {
  std::vector<MatrixEntry> heads;
  const auto& layers = study.steps.front().attention;
  for (size_t l = 0; l < layers.size(); ++l)
    for (size_t h = 0; h < layers[l].size(); ++h) {
      const AttentionShares shares = mean_shares(study.steps, l, h);
      heads.push_back({static_cast<int64_t>(l), static_cast<int64_t>(h), shares.generated + shares.self});
    }
  plot::Heatmap map = matrix(heads, "share of attention");
  map.z_min = 0;
  map.z_max = 1;
  plot::Panel looks = layer_panel("Attention on generated tokens", "query head", std::move(map));
  looks.note = "mean over the steps; the rest goes to the prompt";

  plot::Panel moved;
  moved.title = "Distance of generated tokens from the prompt's mean";
  moved.x = {.label = "layer", .whole = true};
  moved.y = {.label = "distance / spread"};
  plot::Lines lines;
  const auto add = [&](const char* label, plot::Colour colour, Drift GenerationLayer::*half) {
    plot::Series series{.label = label, .x = indices(study.cache.layers.size()), .y = {}, .colour = colour};
    for (const GenerationLayer& layer : study.cache.layers) series.y.push_back((layer.*half).distance);
    lines.series.push_back(std::move(series));
  };
  add("keys (before RoPE)", plot::colours::key, &GenerationLayer::key);
  add("values", plot::colours::value, &GenerationLayer::value);
  moved.marks.emplace_back(std::move(lines));
  moved.marks.emplace_back(
      plot::Reference{.at = 1, .label = "the prompt's own tokens", .colour = plot::colours::neutral});

  plot::Figure figure;
  figure.title = "Generated tokens by layer and head";
  figure.columns = 2;
  figure.height = 700;
  figure.panels = {std::move(looks), std::move(moved)};
  return {"generation/layers", std::move(figure)};
}

std::string row_name(const EvictedText& text) {
  return text.policy + " " + text.budget;
}

/// Equal so far, the first token that differs, after it.
NamedFigure policies_figure(const GenerationStudy& study) {
  const std::vector<EvictedText>& rows = study.evicted;
  size_t columns = 0;
  for (const EvictedText& row : rows) columns = std::max(columns, row.pieces.size());
  plot::Heatmap map{.rows = static_cast<int>(rows.size()),
                    .cols = static_cast<int>(columns),
                    .z_label = "",
                    .x0 = 1,
                    .decimals = -1,
                    .nothing_label = "the text has ended",
                    .categories = {{"as with the full cache", plot::Colour{0xbfe3d0}},
                                   {"first token that differs", plot::colours::sink},
                                   {"after it", plot::Colour{0xf4dfb8}}}};
  plot::Panel panel;
  panel.title = "Which tokens are those of the full cache";
  panel.note =
      "greedy, or with the same random numbers; after the first difference the texts are different ones";
  panel.x = step_axis();
  for (const EvictedText& row : rows) {
    panel.y.names.push_back(row_name(row));
    for (size_t i = 0; i < columns; ++i) {
      const auto step = static_cast<int64_t>(i);
      map.z.push_back(i >= row.pieces.size() ? kNone : step < row.equal ? 0 : step == row.equal ? 1 : 2);
    }
  }
  panel.marks.emplace_back(std::move(map));

  plot::Figure figure;
  figure.title = "The same prompt continued under eviction";
  figure.panels = {std::move(panel)};
  figure.height = static_cast<int>(std::min<size_t>(330 + 42 * rows.size(), 1400));
  std::string caption = "Full: " + plot::one_line(study.text);
  const auto first = std::ranges::min_element(study.evicted, {}, &EvictedText::equal);
  if (first->divergence) caption += "  |  " + row_name(*first) + ": " + plot::one_line(first->text);
  figure.caption = plot::shortened(caption, 1.4 * kCaptionWidth, kCaptionSize);
  return {"generation/policies", std::move(figure)};
}

}  // namespace

NamedFigure generation_figure(const GenerationStudy& study) {
  plot::Figure figure;
  figure.title = "The cache while text is generated";
  figure.columns = 2;
  figure.height = 1300;
  const GenerationResult& cache = study.cache;
  const auto key = &GenerationStage::key, value = &GenerationStage::value;
  figure.panels = {part_panel(cache, key, &PartStats::rms, "Keys: RMS", "RMS"),
                   part_panel(cache, value, &PartStats::rms, "Values: RMS", "RMS"),
                   part_panel(cache, key, &PartStats::hoyer, "Keys: Hoyer sparsity", "0 dense, 1 sparse"),
                   part_panel(cache, value, &PartStats::hoyer, "Values: Hoyer sparsity", "0 dense, 1 sparse"),
                   part_panel(cache, key, &PartStats::legacy_sparsity, "legacy, keys: near-zero elements",
                              "share of elements"),
                   part_panel(cache, value, &PartStats::legacy_sparsity, "legacy, values: near-zero elements",
                              "share of elements")};
  if (!study.text.empty())
    figure.caption = plot::shortened("Generated: " + plot::one_line(study.text), kCaptionWidth, kCaptionSize);
  return {"tokens/generation_stages_comparison", std::move(figure)};
}

std::vector<NamedFigure> generation_figures(const GenerationStudy& study) {
  std::vector<NamedFigure> all{generation_figure(study)};
  if (!study.steps.empty()) {
    all.push_back(steps_figure(study));
    all.push_back(layers_figure(study));
  }
  if (!study.evicted.empty()) all.push_back(policies_figure(study));
  return all;
}

}  // namespace kvviz::figures
