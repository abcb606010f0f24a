// SPDX-License-Identifier: MIT
#include "kvviz/figures/generation_parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "kvviz/plot/text.hpp"

namespace kvviz::figures {
namespace {

using namespace analysis;

std::string keys_label(const GenerationResult& cache) {
  return cache.keys_before_rope ? "keys (before RoPE)" : "keys";
}

bool has_drift(const GenerationResult& cache) {
  return std::isfinite(cache.end.key.drift.drift) || std::isfinite(cache.end.value.drift.drift);
}

using StageValue = std::function<double(const GenerationStage&)>;

/// A number at each stage; stages without it have no point.
plot::Series over_stages(const GenerationResult& cache, const std::string& label, plot::Colour colour,
                         const StageValue& value) {
  plot::Series series{.label = label, .x = {}, .y = {}, .colour = colour};
  for (size_t i = 0; i < cache.stages.size(); ++i) {
    const double y = value(cache.stages[i]);
    if (std::isnan(y)) continue;
    series.x.push_back(static_cast<double>(i));
    series.y.push_back(y);
  }
  return series;
}

plot::Series dashed(plot::Series series) {
  series.stroke = plot::Stroke::dashed;
  series.marker = plot::Marker::ring;
  return series;
}

plot::Panel stage_panel(const GenerationResult& cache, const std::string& title, const std::string& y_label,
                        std::vector<plot::Series> series) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "stage (tokens in the cache)",
             .min = -0.5,
             .max = static_cast<double>(cache.stages.size()) - 0.5};
  for (const GenerationStage& stage : cache.stages)
    panel.x.names.push_back(fmt::format("{} ({})", stage.name, stage.tokens));
  panel.y = {.label = y_label};
  panel.marks.emplace_back(plot::Lines{std::move(series)});
  return panel;
}

plot::Panel measure_panel(const GenerationResult& cache, const std::string& title, const std::string& y_label,
                          double PartStats::*measure) {
  std::vector<plot::Series> series;
  const auto add = [&](const std::string& name, StageHalf GenerationStage::*half, plot::Colour colour) {
    series.push_back(dashed(
        over_stages(cache, name + ", all", colour, [=](const auto& s) { return (s.*half).all.*measure; })));
    if (cache.end.generated > 0)
      series.push_back(over_stages(cache, name + ", generated", colour,
                                   [=](const auto& s) { return (s.*half).generated.*measure; }));
  };
  add("keys", &GenerationStage::key, plot::colours::key);
  add("values", &GenerationStage::value, plot::colours::value);
  return stage_panel(cache, title, y_label, std::move(series));
}

// Means of the measures over samples of n elements of a normal distribution: few elements look sparser to the
// first and less sparse to the others than many.

/// Exact: |x|_2 and x / |x|_2 are independent, and E|u_1| on the sphere is Gamma(n/2) / (sqrt pi
/// Gamma((n+1)/2)).
double gaussian_hoyer(double n) {
  const double share = std::exp(std::lgamma(n / 2) - std::lgamma((n + 1) / 2)) / std::sqrt(std::numbers::pi);
  return (std::sqrt(n) - n * share) / (std::sqrt(n) - 1);
}

/// To first order in 1 / n: within 0.005 from 16 elements on.
double gaussian_gini(double n) {
  return (1 - 1 / n) * (std::numbers::sqrt2 - 1);
}

/// 1 / n E[y] with y = sum x^4 / (sum x^2)^2, times 1 + var y / E[y]^2: within 0.006.
double gaussian_participation(double n) {
  return (n + 2) / (3 * n) * (3 * n + 32) * (n + 2) / (3 * (n + 4) * (n + 6));
}

/// A measure of sparsity, and what it gives for as many elements of a normal distribution as the stage has
/// generated in a KV head (in all, before the first).
plot::Panel sparsity_panel(const GenerationResult& cache, const std::string& title,
                           const std::string& y_label, double PartStats::*measure,
                           double (*gaussian)(double)) {
  plot::Panel panel = measure_panel(cache, title, y_label, measure);
  const int64_t channels = cache.shape.layers.empty() ? 0 : cache.shape.layers.front().head_dim;
  auto& lines = std::get<plot::Lines>(panel.marks.front());
  lines.series.push_back(
      dashed(over_stages(cache, "Gaussian, as many", plot::colours::neutral, [&](const auto& stage) {
        const int64_t tokens = stage.generated > 0 ? stage.generated : stage.tokens;
        return tokens * channels > 1 ? gaussian(static_cast<double>(tokens * channels)) : kNone;
      })));
  return panel;
}

plot::Panel drift_panel(const GenerationResult& cache) {
  const auto part = [&](const std::string& name, StageHalf GenerationStage::*half, plot::Colour colour) {
    return over_stages(cache, name, colour, [=](const auto& s) { return (s.*half).drift.drift; });
  };
  plot::Panel panel =
      stage_panel(cache, "Drift of the generated tokens from the prompt", "distance of means / spread",
                  {part(keys_label(cache), &GenerationStage::key, plot::colours::key),
                   part("values", &GenerationStage::value, plot::colours::value),
                   dashed(over_stages(cache, "as many new ones like the prompt's, about",
                                      plot::colours::neutral, [](const auto& s) { return s.chance; }))});
  panel.y.min = 0;
  return panel;
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

plot::Panel attention_panel(const GenerationStudy& study) {
  plot::Panel panel;
  panel.title = "Where each generated token looks";
  panel.x = step_axis();
  panel.y = {.label = "share of attention", .min = 0, .max = 1};
  const auto share = [&](const char* label, double AttentionShares::*part, plot::Colour colour) {
    return thin(line(study, label, colour, [&](size_t i) { return mean_shares(study.steps[i]).*part; }));
  };
  plot::Series uniform =
      thin(line(study, "rest of the prompt, if all keys were alike", plot::colours::neutral,
                [&](size_t i) { return study.steps[i].uniform.prompt; }));
  uniform.stroke = plot::Stroke::dashed;
  panel.marks.emplace_back(
      plot::Lines{{share("first token", &AttentionShares::first, plot::colours::sink),
                   share("rest of the prompt", &AttentionShares::prompt, prompt_colour),
                   share("generated before", &AttentionShares::generated, generated_colour),
                   share("itself", &AttentionShares::self, self_colour), uniform}});
  panel.note = "mean over layers and query heads; the four parts sum to 1";
  return panel;
}

plot::Panel distance_panel(const GenerationStudy& study) {
  plot::Panel panel;
  panel.title = "Generated keys and values against the prompt's";
  panel.x = step_axis();
  panel.y = {.label = "distance from the prompt's mean / spread"};
  panel.marks.emplace_back(
      plot::Lines{{thin(line(study, keys_label(study.cache), plot::colours::key,
                             [&](size_t i) { return study.cache.tokens[i].k_distance; })),
                   thin(line(study, "values", plot::colours::value,
                             [&](size_t i) { return study.cache.tokens[i].v_distance; }))}});
  panel.marks.emplace_back(
      plot::Reference{.at = 1, .label = "the prompt's own tokens", .colour = plot::colours::neutral});
  panel.note = "mean over layers and KV heads";
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
  const std::array full{full_text(study)};
  plot::Figure figure;
  figure.title = "Token by token";
  figure.columns = 2;
  figure.panels = {attention_panel(study), probability_panel(study)};
  if (has_drift(study.cache)) figure.panels.insert(figure.panels.begin() + 1, distance_panel(study));
  figure.panels.push_back(std::isnan(study.step_seconds()) ? bytes_panel(full) : speed_panel(study));
  return {"generation/steps", std::move(figure)};
}

plot::Panel layer_distance_panel(const GenerationStudy& study) {
  plot::Panel panel;
  panel.title = "Distance of generated tokens from the prompt's mean";
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "distance / spread"};
  plot::Lines lines;
  const auto add = [&](const std::string& label, plot::Colour colour, Drift GenerationLayer::*half) {
    plot::Series series{.label = label, .x = indices(study.cache.layers.size()), .y = {}, .colour = colour};
    for (const GenerationLayer& layer : study.cache.layers) series.y.push_back((layer.*half).distance);
    lines.series.push_back(std::move(series));
  };
  add(keys_label(study.cache), plot::colours::key, &GenerationLayer::key);
  add("values", plot::colours::value, &GenerationLayer::value);
  panel.marks.emplace_back(std::move(lines));
  panel.marks.emplace_back(
      plot::Reference{.at = 1, .label = "the prompt's own tokens", .colour = plot::colours::neutral});
  return panel;
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

  plot::Figure figure;
  figure.title = "Generated tokens by layer and head";
  figure.height = 700;
  figure.panels = {std::move(looks)};
  if (has_drift(study.cache)) {
    figure.columns = 2;
    figure.panels.push_back(layer_distance_panel(study));
  }
  return {"generation/layers", std::move(figure)};
}

}  // namespace

NamedFigure generation_figure(const GenerationStudy& study) {
  plot::Figure figure;
  figure.title = "The cache while text is generated";
  figure.columns = 2;
  figure.height = 1300;
  const GenerationResult& cache = study.cache;
  figure.panels = {
      sparsity_panel(cache, "Hoyer sparsity", "0 dense, 1 sparse", &PartStats::hoyer, gaussian_hoyer),
      sparsity_panel(cache, "Gini index", "0 dense, 1 sparse", &PartStats::gini, gaussian_gini),
      sparsity_panel(cache, "Participation ratio", "1 dense, 0 sparse", &PartStats::participation_ratio,
                     gaussian_participation),
      measure_panel(cache, "RMS", "root of the mean square", &PartStats::rms),
      measure_panel(cache, "legacy: near-zero elements", "share of elements", &PartStats::legacy_sparsity)};
  figure.panels.back().note = "below a threshold that the largest element of the whole cache sets";
  if (has_drift(cache)) figure.panels.push_back(drift_panel(cache));
  figure.caption =
      "Gaussian: the mean of as many normal elements as a KV head holds of generated tokens (of all, before "
      "the first).";
  if (!study.text.empty())
    figure.caption +=
        "  |  " + plot::shortened("Generated: " + plot::one_line(study.text), kCaptionWidth, kCaptionSize);
  return {"tokens/generation_stages_comparison", std::move(figure)};
}

std::vector<NamedFigure> generation_figures(const GenerationStudy& study) {
  std::vector<NamedFigure> all{generation_figure(study)};
  if (!study.steps.empty()) {
    all.push_back(steps_figure(study));
    all.push_back(layers_figure(study));
  }
  if (!study.evicted.empty()) all.push_back(bytes_figure(study));
  if (std::ranges::any_of(study.evicted, [](const EvictedText& text) { return !text.pieces.empty(); }))
    all.push_back(policies_figure(study));
  return all;
}

}  // namespace kvviz::figures
