// SPDX-License-Identifier: MIT
#include "kvviz/figures/channels_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace kvviz::figures {
namespace {

using analysis::ChannelOutlier;
using analysis::ChannelPattern;
using analysis::ChannelsOptions;
using analysis::ChannelsResult;
using analysis::Half;
using analysis::HeadChannels;
using analysis::LegacyDimension;

constexpr size_t kNamed = 4;  // of the strongest outliers

std::string legacy_measure(const analysis::LegacyOptions& options) {
  return options.threshold > 0
             ? "share below a fixed magnitude"
             : fmt::format("share below {} % of the cache's largest |x|", plain_number(options.percent));
}

plot::Panel outliers(const ChannelsResult& result, const ChannelsOptions& options, Half half) {
  const bool keys = half == Half::key;
  plot::Series points{"outlier channel of a head",
                      {},
                      {},
                      keys ? plot::colours::key : plot::colours::value,
                      plot::Stroke::points};
  plot::Panel panel;
  for (const ChannelOutlier& outlier : result.outliers) {
    if (outlier.half != half) continue;
    points.x.push_back(static_cast<double>(outlier.channel)), points.y.push_back(outlier.ratio);
    if (points.x.size() > kNamed) continue;
    panel.note += fmt::format("{} L{} H{} c{} ({:.1f})", points.x.size() == 1 ? "Strongest:" : ",",
                              outlier.layer, outlier.head, outlier.channel, outlier.ratio);
  }
  plot::Series others{"other channel", {}, {}, plot::colours::nothing, plot::Stroke::points};
  for (const HeadChannels& head : result.rows) {
    const std::vector<double>& ratios = (keys ? head.key : head.value).rms_ratio;
    for (size_t c = 0; c < ratios.size(); ++c)
      if (ratios[c] <= options.outlier_ratio)
        others.x.push_back(static_cast<double>(c)), others.y.push_back(ratios[c]);
  }
  const std::string ratio = plain_number(options.outlier_ratio);
  const size_t count = points.x.size();
  panel.title = fmt::format("{}: {} channel{} above {} x {} head's median", keys ? "Keys" : "Values", count,
                            count == 1 ? "" : "s", ratio, count == 1 ? "its" : "their");
  panel.nothing = "none";
  const int64_t dims = static_cast<int64_t>(result.legacy.dimensions.size());
  panel.x = {.label = "channel",
             .whole = true,
             .min = -0.5,
             .max = static_cast<double>(std::max<int64_t>(1, dims)) - 0.5};
  panel.y = {.label = "RMS / median RMS of the head", .min = 0};
  for (plot::Series* series : {&others, &points})
    if (series->x.empty()) series->label.clear();
  panel.marks.emplace_back(plot::Lines{{std::move(others), std::move(points)}});
  panel.marks.emplace_back(
      plot::Reference{.at = options.outlier_ratio, .label = fmt::format("outlier above {}", ratio)});
  return panel;
}

plot::Panel legacy_dimensions(const ChannelsResult& result, const ChannelsOptions& options, bool keys) {
  plot::Bars::Group group{"", {}, {}, keys ? plot::colours::key : plot::colours::value};
  for (const LegacyDimension& d : result.legacy.dimensions)
    group.values.push_back(keys ? d.k_sparsity : d.v_sparsity);
  std::vector<size_t> order(group.values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return group.values[a] > group.values[b]; });
  plot::Panel panel;
  panel.title = fmt::format("legacy, {}: {}", keys ? "keys" : "values", legacy_measure(options.legacy));
  panel.note = "One channel index over all heads and layers: unrelated directions.";
  panel.x = {.label = "channel index", .whole = true};
  panel.y = {.label = "share of elements", .min = 0};
  constexpr double headroom = 1.12;  // above the tallest bar, for its name
  if (!order.empty() && group.values[order[0]] > 0) panel.y.max = headroom * group.values[order[0]];
  for (size_t i = 0; i < std::min<size_t>(3, order.size()); ++i)
    panel.marks.emplace_back(
        plot::Note{static_cast<double>(order[i]), group.values[order[i]], fmt::format("c{}", order[i])});
  panel.marks.insert(panel.marks.begin(), plot::Bars{{std::move(group)}});
  return panel;
}

plot::Figure consistency(const ChannelsResult& result, const ChannelsOptions& options) {
  plot::Figure figure;
  figure.title = "Which channels stand out?";
  figure.columns = 2;
  figure.panels = {outliers(result, options, Half::key), outliers(result, options, Half::value),
                   legacy_dimensions(result, options, true), legacy_dimensions(result, options, false)};
  figure.caption =
      "L layer, H KV head, c channel. An outlier channel sets the range of a quantiser that scales whole "
      "tokens; scaled by channel it costs nothing.";
  return figure;
}

/// One row a channel; the colour scale leaves the first tokens out.
plot::Panel patterns(const std::vector<ChannelPattern>& channels, const char* half, const char* which,
                     int64_t skip) {
  std::vector<MatrixEntry> entries;
  std::vector<std::string> names;
  double inside = 0, outside = 0;
  for (const ChannelPattern& channel : channels) {
    for (size_t t = 0; t < channel.values.size(); ++t) {
      const double value = channel.values[t];
      const bool skipped = static_cast<int64_t>(t) < skip;
      entries.push_back({static_cast<int64_t>(names.size()), static_cast<int64_t>(t), value});
      if (std::isfinite(value)) (skipped ? outside : inside) = std::max(skipped ? outside : inside, value);
    }
    names.push_back(fmt::format("L{} H{} c{}", channel.layer, channel.head, channel.channel));
  }
  plot::Heatmap map = matrix(entries, "|x| / mean |x|");
  map.z_min = 0;
  plot::Panel panel;
  panel.title = fmt::format("{}: {} variable channels", half, which);
  if (inside > 0) {
    map.z_max = inside;
    if (outside > inside)
      panel.note = fmt::format("The first {} up to {:.3g}, beyond the colour scale.",
                               skip == 1 ? "token reaches" : "tokens reach", outside);
  }
  map.decimals = 1;
  panel.x = {.label = "token position", .whole = true};
  panel.y = {.label = "", .whole = true, .names = std::move(names)};
  panel.marks.emplace_back(std::move(map));
  return panel;
}

plot::Figure pattern_figure(const ChannelsResult& result, const ChannelsOptions& options) {
  plot::Figure figure;
  figure.title = "Channels over the tokens: the most and the least variable";
  figure.columns = 2;
  figure.height = 760;
  figure.panels = {patterns(result.key_patterns.most, "Keys", "most", options.skip_first),
                   patterns(result.value_patterns.most, "Values", "most", options.skip_first),
                   patterns(result.key_patterns.least, "Keys", "least", options.skip_first),
                   patterns(result.value_patterns.least, "Values", "least", options.skip_first)};
  const std::string skipped =
      options.skip_first == 1 ? "token" : fmt::format("{} tokens", options.skip_first);
  figure.caption = "L layer, H KV head, c channel. Ranked by std / mean of |x|, keys and values apart" +
                   (options.skip_first > 0 ? ", without the first " + skipped + "." : std::string("."));
  return figure;
}

/// Largest value over the heads of a layer, per channel.
plot::Panel largest_over_heads(const ChannelsResult& result, const std::string& title,
                               const std::string& x_label,
                               const std::vector<double>& (*get)(const HeadChannels&)) {
  std::map<std::pair<int64_t, int64_t>, double> largest;
  for (const HeadChannels& row : result.rows) {
    const std::vector<double>& values = get(row);
    for (size_t c = 0; c < values.size(); ++c) {
      double& kept = largest.try_emplace({row.layer, static_cast<int64_t>(c)}, values[c]).first->second;
      if (!(kept >= values[c]) && std::isfinite(values[c])) kept = values[c];
    }
  }
  std::vector<MatrixEntry> entries;
  for (const auto& [place, value] : largest) entries.push_back({place.first, place.second, value});
  plot::Heatmap map = matrix(entries, "RMS / median of the head");
  map.z_scale = plot::Scale::log10;
  map.decimals = decimals_for(map.z);
  return layer_panel(title, x_label, std::move(map));
}

plot::Panel legacy_importance(const std::vector<std::vector<double>>& table, const char* half) {
  std::vector<MatrixEntry> entries;
  for (size_t l = 0; l < table.size(); ++l)
    for (size_t d = 0; d < table[l].size(); ++d)
      entries.push_back({static_cast<int64_t>(l), static_cast<int64_t>(d), table[l][d]});
  return layer_panel(fmt::format("legacy, {}: 1 - sparsity", half), "channel index",
                     matrix(entries, "share of elements"));
}

plot::Figure importance(const ChannelsResult& result) {
  plot::Figure figure;
  figure.title = "Strength of every channel, layer by layer";
  figure.columns = 2;
  figure.panels = {largest_over_heads(result, "Keys: strongest head at each channel", "channel",
                                      [](const HeadChannels& row) -> const std::vector<double>& {
                                        return row.key.rms_ratio;
                                      }),
                   largest_over_heads(result, "Values: strongest head at each channel", "channel",
                                      [](const HeadChannels& row) -> const std::vector<double>& {
                                        return row.value.rms_ratio;
                                      }),
                   legacy_importance(result.legacy.k_importance, "keys"),
                   legacy_importance(result.legacy.v_importance, "values")};
  const bool rope = std::any_of(result.rows.begin(), result.rows.end(),
                                [](const HeadChannels& row) { return !row.key_pair_ratio.empty(); });
  if (rope) {
    figure.panels.push_back(largest_over_heads(
        result, "Keys by RoPE frequency: strongest head", "frequency index (0 turns fastest)",
        [](const HeadChannels& row) -> const std::vector<double>& { return row.key_pair_ratio; }));
    figure.caption =
        "A RoPE pair's length does not change with the position; channels of one pair share a frequency.";
  }
  figure.height = rope ? 1350 : 1000;
  return figure;
}

}  // namespace

std::vector<NamedFigure> channel_figures(const ChannelsResult& result, const ChannelsOptions& options) {
  return {{"embeddings/embedding_consistency", consistency(result, options)},
          {"embeddings/sparse_dense_embedding_patterns", pattern_figure(result, options)},
          {"embeddings/embedding_importance_heatmap", importance(result)}};
}

}  // namespace kvviz::figures
