// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "kvviz/figures/similarity_parts.hpp"

namespace kvviz::figures {
namespace {

using analysis::Half;
using analysis::SimilarityResult;

struct ChannelGroup {
  std::string name;  ///< "layer.head: channels"
  double size = 0;
};

/// The largest first.
std::vector<ChannelGroup> groups_of(const analysis::SimilaritySide& side) {
  std::vector<ChannelGroup> all;
  auto next = side.channel_groups.groups.begin();
  int64_t first = 0;
  for (const analysis::HeadChannelsRow& head : side.channels) {
    for (int64_t g = 0; g < head.groups; ++g, ++next) {
      std::vector<int64_t> channels;
      for (const int64_t item : *next) channels.push_back(item - first);
      all.push_back({fmt::format("{}.{}: {}", head.layer, head.head, fmt::join(channels, " ")),
                     static_cast<double>(next->size())});
    }
    first += head.dim;
  }
  std::ranges::stable_sort(all, std::greater<>(), &ChannelGroup::size);
  return all;
}

plot::Panel panel_of(const SimilarityResult& result, Half half) {
  const analysis::SimilaritySide& side = result.side(half);
  plot::Panel panel;
  panel.title = grouped(half, side.channel_groups, "channels");
  panel.note = fmt::format("|r| of every pair at least {:.3g}", side.channel_groups.threshold);
  panel.x = {.label = "group (layer.head: its channels)", .whole = true};
  panel.y = {.label = "channels", .whole = true, .min = 0};
  plot::Bars bars;
  bars.groups.push_back({.label = half == Half::key ? "keys" : "values",
                         .colour = half == Half::key ? plot::colours::key : plot::colours::value});
  for (const ChannelGroup& group : groups_of(side)) {
    panel.x.names.push_back(group.name);
    bars.groups[0].values.push_back(group.size);
  }
  panel.x.min = -0.5;  // a few groups in bars of a modest width
  panel.x.max = static_cast<double>(std::max<size_t>(panel.x.names.size(), 8)) - 0.5;
  panel.marks.emplace_back(std::move(bars));
  return panel;
}

}  // namespace

plot::Figure channel_groups_figure(const SimilarityResult& result) {
  plot::Figure figure;
  figure.title = "Which channels of a head go together";
  figure.caption =
      "Signed correlation over the tokens, complete linkage: channels of one head, each in one group at "
      "most. "
      "What one shared channel a group does to the model: kvviz compress --methods ";
  double threshold = 1;
  for (const Half half : {Half::key, Half::value}) {
    const analysis::Grouping& grouping = result.side(half).channel_groups;
    if (grouping.groups.empty()) continue;
    figure.panels.push_back(panel_of(result, half));
    threshold = std::min(threshold, grouping.threshold);
  }
  figure.caption += fmt::format("groups:{:.3g}.", threshold);
  figure.height = static_cast<int>(180 + 420 * figure.panels.size());
  return figure;
}

}  // namespace kvviz::figures
