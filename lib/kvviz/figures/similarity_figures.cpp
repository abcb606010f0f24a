// SPDX-License-Identifier: MIT
#include "kvviz/figures/similarity_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/similarity_parts.hpp"

namespace kvviz::figures {
namespace {

using analysis::Half;
using analysis::HeadId;
using analysis::SimilarityResult;
using analysis::SimilaritySide;

constexpr Half kHalves[] = {Half::key, Half::value};

const char* name_of(Half half) {
  return half == Half::key ? "Keys" : "Values";
}

plot::Colour colour_of(Half half) {
  return half == Half::key ? plot::colours::key : plot::colours::value;
}

/// Thin lines between layers whose heads follow each other.
plot::Lines layer_borders(int64_t layers) {
  plot::Lines lines;
  const double first = -0.5, last = static_cast<double>(layers) - 0.5;
  for (int64_t layer = 1; layer < layers; ++layer) {
    const double at = static_cast<double>(layer) - 0.5;
    for (const bool row : {true, false}) {
      plot::Series line{.colour = plot::colours::neutral, .marker = plot::Marker::none, .width = 0.3};
      line.x = row ? std::vector<double>{first, last} : std::vector<double>{at, at};
      line.y = row ? std::vector<double>{at, at} : std::vector<double>{first, last};
      lines.series.push_back(std::move(line));
    }
  }
  return lines;
}

/// A map of heads, those of a layer side by side: the axis counts layers where all have as many.
void over_heads(const std::vector<HeadId>& heads, const char* what, plot::Panel& panel, plot::Heatmap map) {
  const int64_t layers = heads.empty() ? 1 : heads.back().layer + 1;
  const int64_t each = std::ssize(heads) / layers;
  const bool even = std::ranges::all_of(heads, [&](const HeadId& id) { return id.head < each; });
  if (std::ssize(heads) <= 32) {
    panel.x.label = panel.y.label = fmt::format("{} (layer.head)", what);
    for (const HeadId& id : heads) panel.x.names.push_back(fmt::format("{}.{}", id.layer, id.head));
    panel.y.names = panel.x.names;
  } else if (even) {
    panel.x.label = panel.y.label = fmt::format("layer; its {} {}s follow each other", each, what);
    map.x0 = map.y0 = 0.5 / static_cast<double>(each) - 0.5;  // a layer's heads around its number
    map.dx = map.dy = 1 / static_cast<double>(each);
  } else {
    panel.x.label = panel.y.label = fmt::format("{}s, layer by layer", what);
  }
  panel.x.whole = panel.y.whole = true;
  const bool by_layer = panel.x.names.empty() && even;
  panel.marks.emplace_back(std::move(map));
  if (by_layer) panel.marks.emplace_back(layer_borders(layers));
}

plot::Panel layer_matrix(const std::string& title, plot::Heatmap map) {
  plot::Panel panel;
  panel.title = title;
  panel.x = panel.y = {.label = "layer", .whole = true};
  panel.marks.emplace_back(std::move(map));
  return panel;
}

std::string cka_caption(const SimilarityResult& result) {
  return fmt::format(
      "Linear CKA on {} tokens, (CKA - chance) / (1 - chance), chance its mean over all pairings of the "
      "tokens: "
      "0 at chance, 1 the same up to rotation and scale.{}",
      result.compared, rope_caption(result));
}

plot::Figure layer_figure(const SimilarityResult& result) {
  plot::Figure figure;
  figure.title = "Which layers see tokens alike";
  for (const Half half : kHalves) {
    const SimilaritySide& side = result.side(half);
    figure.panels.push_back(
        layer_matrix(grouped(half, side.layers, "layers"),
                     signed_matrix(side.layer_excess, result.layers, "CKA above chance")));
  }
  figure.columns = 2;
  figure.width = 1700;
  figure.height = 950;
  figure.caption = cka_caption(result);
  return figure;
}

plot::Figure head_figure(const SimilarityResult& result) {
  plot::Figure figure;
  figure.title = "Which KV heads see tokens alike";
  for (const Half half : kHalves) {
    const SimilaritySide& side = result.side(half);
    plot::Panel panel;
    panel.title = grouped(half, side.heads, "KV heads");
    plot::Heatmap map = signed_matrix(side.head_excess, std::ssize(result.heads), "CKA above chance");
    over_heads(result.heads, "KV head", panel, std::move(map));
    figure.panels.push_back(std::move(panel));
  }
  figure.columns = 2;
  figure.width = 1900;
  figure.height = 1050;
  figure.caption = cka_caption(result);
  return figure;
}

plot::Panel picked_panel(const SimilarityResult& result, Half half) {
  const SimilaritySide& side = result.side(half);
  const auto dim = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(side.picked.size()))));
  plot::Panel panel;
  panel.title =
      fmt::format("{} of layer {}, KV head {}", name_of(half), result.picked.layer, result.picked.head);
  panel.x = panel.y = {.label = "channel", .whole = true};
  panel.marks.emplace_back(signed_matrix(side.picked, dim, "Pearson r over the tokens"));
  return panel;
}

plot::Panel mean_panel(const SimilarityResult& result, Half half, double most) {
  std::vector<MatrixEntry> entries;
  const SimilaritySide& side = result.side(half);
  for (const auto& row : side.channels) entries.push_back({row.layer, row.head, row.excess});
  plot::Heatmap map = matrix(entries, "mean |r| above chance");
  map.z_min = 0;
  if (most > 0) map.z_max = most;
  return layer_panel(
      fmt::format("{}: mean |r| of all pairs of channels of a head, above chance", name_of(half)), "KV head",
      std::move(map));
}

plot::Figure channel_figure(const SimilarityResult& result) {
  plot::Figure figure;
  figure.title = "Do the channels of a head repeat each other";
  for (const Half half : kHalves) figure.panels.push_back(picked_panel(result, half));
  double most = 0;
  for (const Half half : kHalves)
    for (const auto& row : result.side(half).channels)
      most = std::isnan(row.excess) ? most : std::max(most, row.excess);
  for (const Half half : kHalves) figure.panels.push_back(mean_panel(result, half, most));
  figure.columns = 2;
  figure.width = 1700;
  figure.height = 1400;
  figure.row_weights = {1.7, 1};
  const double chance = result.key.channels.front().chance;
  figure.caption = std::isnan(chance) ? "A single token has no correlation."
                                      : fmt::format(
                                            "Independent channels have a mean |r| of {:.3f} on {} tokens: "
                                            "(mean |r| - chance) / (1 - chance) is 0 for them.",
                                            chance, result.compared);
  return figure;
}

plot::Panel prediction_panel(const SimilarityResult& result) {
  plot::Panel panel;
  panel.title = "What a layer leaves unexplained of the next one";
  panel.note = "Least squares on principal components, judged on tokens that were not fitted.";
  panel.x = {.label = "predicted layer", .whole = true};
  panel.y = {.label = "1 - R² on held-out tokens", .min = 0};
  plot::Lines lines;
  for (const Half half : kHalves) {
    plot::Series series{.label = half == Half::key ? "keys" : "values", .colour = colour_of(half)};
    for (const auto& p : result.side(half).predictions) {
      series.x.push_back(p.to);
      series.y.push_back(1 - p.prediction.r2);
    }
    lines.series.push_back(std::move(series));
  }
  panel.marks.emplace_back(std::move(lines));
  panel.marks.emplace_back(
      plot::Reference{.at = 1, .label = "nothing explained", .colour = plot::colours::neutral});
  return panel;
}

plot::Panel neighbour_panel(const SimilarityResult& result) {
  plot::Panel panel;
  panel.title = "Leading directions that neighbouring layers share";
  panel.note = "Principal angles of the subspaces of [tokens, features].";
  panel.x = {.label = "later layer", .whole = true};
  panel.y = {.label = "mean cos²", .min = 0, .max = 1};
  plot::Lines lines;
  for (const bool chance : {false, true})
    for (const Half half : kHalves) {
      plot::Series series{
          .label = fmt::format("{}{}", half == Half::key ? "keys" : "values", chance ? ", by chance" : ""),
          .colour = colour_of(half)};
      if (chance) series.stroke = plot::Stroke::dashed;
      for (const auto& pair : result.side(half).pairs) {
        if (pair.second != pair.first + 1) continue;
        series.x.push_back(pair.second);
        series.y.push_back(chance ? pair.subspace.chance : pair.subspace.mean_cos2);
      }
      lines.series.push_back(std::move(series));
    }
  panel.marks.emplace_back(std::move(lines));
  return panel;
}

plot::Figure prediction_figure(const SimilarityResult& result) {
  plot::Figure figure;
  figure.title = "What one layer says about another";
  if (!result.key.predictions.empty()) figure.panels.push_back(prediction_panel(result));
  figure.panels.push_back(neighbour_panel(result));
  for (const Half half : kHalves) {
    plot::Heatmap map{.z = result.side(half).layer_overlap,
                      .rows = result.layers,
                      .cols = result.layers,
                      .z_label = "mean cos²",
                      .z_min = 0,
                      .z_max = 1};
    figure.panels.push_back(
        layer_matrix(fmt::format("{}: directions shared by two layers", name_of(half)), std::move(map)));
  }
  figure.caption = rope_caption(result);
  figure.columns = figure.panels.size() == 4 ? 2 : 3;
  figure.width = 1700;
  figure.height = figure.panels.size() == 4 ? 1350 : 750;
  if (result.key.predictions.empty())
    figure.caption += fmt::format(" No prediction: {}.", result.prediction_reason);
  return figure;
}

plot::Figure attention_figure(const SimilarityResult& result) {
  plot::Figure figure;
  figure.title = "Which query heads look at the same places";
  plot::Panel panel;
  panel.title = "1 - Jensen-Shannon distance of where they look";
  plot::Heatmap map{.z = result.attention,
                    .rows = static_cast<int>(result.query_heads.size()),
                    .cols = static_cast<int>(result.query_heads.size()),
                    .z_label = "1 the same .. 0 nothing shared",
                    .z_min = 0,
                    .z_max = 1};
  over_heads(result.query_heads, "query head", panel, std::move(map));
  figure.panels = {std::move(panel)};
  figure.width = 1250;
  figure.height = 1150;
  figure.caption =
      "Of the pooled attention maps, every query as likely. All heads share the causal order: unrelated "
      "heads are "
      "not at 0.";
  return figure;
}

}  // namespace

std::string grouped(Half half, const analysis::Grouping& grouping, const std::string& items) {
  const auto groups = std::ssize(grouping.groups);
  if (groups == 0) return fmt::format("{}: no groups of {}", name_of(half), items);
  return fmt::format("{}: {} of {} {} in {} {}", name_of(half), grouping.removed() + groups, grouping.items,
                     items, groups, groups == 1 ? "group" : "groups");
}

std::string rope_caption(const SimilarityResult& result) {
  return result.rotated_keys ? " Keys after RoPE turn with the position in every head: part of their "
                               "similarity is position."
                             : "";
}

plot::Heatmap signed_matrix(const std::vector<double>& values, int64_t items, const std::string& label) {
  const bool negative = std::ranges::any_of(values, [](double value) { return value < 0; });
  return {.z = values,
          .rows = static_cast<int>(items),
          .cols = static_cast<int>(items),
          .z_label = label,
          .map = negative ? plot::ColourMap::diverging : plot::ColourMap::sequential,
          .z_min = negative ? -1 : 0,
          .z_max = 1};
}

std::vector<NamedFigure> similarity_figures(const SimilarityResult& result,
                                            std::span<const std::string> texts) {
  std::vector<NamedFigure> all = {
      {"similarity/layer_similarity_matrix", layer_figure(result)},
      {"similarity/head_similarity_matrix", head_figure(result)},
      {"similarity/head_dendrogram", dendrogram_figure(result)},
      {"similarity/embedding_dimension_correlations", channel_figure(result)},
      {"similarity/token_similarity_matrix", token_matrix_figure(result, texts)},
      {"similarity/token_kv_similarity_matrices", token_matrices_figure(result, texts)},
      {"similarity/token_embedding_patterns", token_channels_figure(result, texts)}};
  if (plot::Figure groups = channel_groups_figure(result); !groups.panels.empty())
    all.push_back({"similarity/embedding_dimension_groups", std::move(groups)});
  if (result.layers > 1) all.push_back({"similarity/layer_prediction_error", prediction_figure(result)});
  if (!result.attention.empty()) all.push_back({"similarity/attention_similarity", attention_figure(result)});
  return all;
}

}  // namespace kvviz::figures
