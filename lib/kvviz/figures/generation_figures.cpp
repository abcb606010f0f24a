// SPDX-License-Identifier: MIT
#include "kvviz/figures/generation_figures.hpp"

#include <fmt/format.h>

#include "kvviz/plot/text.hpp"

namespace kvviz::figures {
namespace {

using Measure = double GenerationStage::*;

constexpr double kCaptionWidth = 2400, kCaptionSize = 13;  // about two lines

plot::Panel stage_panel(const GenerationStages& generation, const std::string& title,
                        const std::string& y_label, std::vector<plot::Bars::Group> groups) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "stage (tokens in the cache)"};
  for (const GenerationStage& stage : generation.stages)
    panel.x.names.push_back(fmt::format("{} ({})", stage.name, stage.cache_tokens));
  panel.y = {.label = y_label, .min = 0};
  panel.marks.emplace_back(plot::Bars{std::move(groups)});
  return panel;
}

plot::Bars::Group group(const GenerationStages& generation, const std::string& label, Measure measure,
                        plot::Colour colour) {
  plot::Bars::Group out{label, {}, {}, colour};
  for (const GenerationStage& stage : generation.stages) out.values.push_back(stage.*measure);
  return out;
}

}  // namespace

NamedFigure generation_figure(const GenerationStages& generation) {
  constexpr plot::Colour fresh{0x009e73};
  plot::Figure figure;
  figure.title = "The cache while text is generated";
  figure.columns = 2;
  const auto pair = [&](const char* old_label, Measure old, Measure generated, plot::Colour colour) {
    return std::vector{group(generation, old_label, old, colour),
                       group(generation, "generated tokens", generated, fresh)};
  };
  figure.panels = {
      stage_panel(generation, "Keys: RMS", "RMS",
                  pair("prompt", &GenerationStage::k_rms, &GenerationStage::k_rms_new, plot::colours::key)),
      stage_panel(generation, "Values: RMS", "RMS",
                  pair("prompt", &GenerationStage::v_rms, &GenerationStage::v_rms_new, plot::colours::value)),
      stage_panel(generation, "legacy, keys: near-zero elements", "share of elements",
                  pair("all tokens", &GenerationStage::legacy_k_sparsity,
                       &GenerationStage::legacy_k_sparsity_new, plot::colours::key)),
      stage_panel(generation, "legacy, values: near-zero elements", "share of elements",
                  pair("all tokens", &GenerationStage::legacy_v_sparsity,
                       &GenerationStage::legacy_v_sparsity_new, plot::colours::value))};
  if (!generation.generated_text.empty())
    figure.caption = plot::shortened("Generated: " + plot::one_line(generation.generated_text), kCaptionWidth,
                                     kCaptionSize);
  return {"tokens/generation_stages_comparison", std::move(figure)};
}

}  // namespace kvviz::figures
