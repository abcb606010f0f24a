// SPDX-License-Identifier: MIT
#include "kvviz/figures/profile_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>

#include "kvviz/core/byte_size.hpp"

namespace kvviz::figures {
namespace {

using namespace analysis;

plot::Colour tier_colour(size_t tier) {
  static constexpr std::array<plot::Colour, 6> colours{
      {{0x009e73}, {0xe69f00}, {0xcc79a7}, {0x56b4e9}, {0x8c6d1f}, {0x000000}}};
  return colours[tier % colours.size()];
}

/// Types whose lines can be told apart.
struct ShownType {
  std::string_view name;
  const char* label;
  plot::Colour colour;
};
constexpr std::array<ShownType, 5> shown_types{{{"f32", "f32", {0x000000}},
                                                {"f16", "f16, bf16", {0x0072b2}},
                                                {"int8", "int8", {0xd55e00}},
                                                {"int4", "int4", {0x56b4e9}},
                                                {"int2", "int2", {0x8c6d1f}}}};

plot::Series series_of(const ShownType& type) {
  plot::Series series;
  series.colour = type.colour;
  series.end_label = type.label;
  return series;
}

plot::Reference context_line(plot::Reference::Direction direction, int64_t context) {
  return {direction, static_cast<double>(context), fmt::format("model's context: {} tokens", context),
          plot::colours::neutral};
}

plot::Panel size_panel(const ProfileFigureInput& input) {
  plot::Panel panel;
  panel.title = "Size of the cache";
  panel.note = "Lines across: what a tier has for the cache.";
  panel.x = {.label = "tokens of a sequence", .scale = plot::Scale::log10};
  panel.y = {.label = "size of the cache [bytes]", .scale = plot::Scale::log10};
  plot::Lines lines;
  double largest = 0;
  for (const ShownType& type : shown_types) {
    plot::Series series = series_of(type);
    for (const ProjectedSize& size : input.sizes->projections)
      if (size.type.name == type.name) {
        series.x.push_back(static_cast<double>(size.tokens));
        series.y.push_back(static_cast<double>(size.bytes));
        largest = std::max(largest, series.y.back());
      }
    lines.series.push_back(std::move(series));
  }
  panel.marks.emplace_back(std::move(lines));
  const auto across = [&](double at, const std::string& label, plot::Colour colour) {
    if (at > 0)
      panel.marks.emplace_back(plot::Reference{plot::Reference::Direction::horizontal, at, label, colour});
  };
  // Tiers beyond the first that holds everything would leave the lines a small part of the panel.
  bool holds_all = false;
  for (size_t i = 0; i < input.profile->tiers.size() && !holds_all; ++i) {
    const MemoryTier& tier = input.profile->tiers[i];
    const auto capacity = static_cast<double>(tier.capacity);
    across(capacity, fmt::format("{}: {}", tier.name, size_text(capacity)), tier_colour(i));
    holds_all = capacity >= largest;
  }
  const auto l2 = static_cast<double>(input.l2);
  across(l2, fmt::format("L2 (a cache, no place): {}", size_text(l2)), plot::colours::nothing);
  if (input.context)
    panel.marks.emplace_back(context_line(plot::Reference::Direction::vertical, *input.context));
  return panel;
}

plot::Panel fit_panel(const ProfileFigureInput& input) {
  plot::Panel panel;
  panel.title = "Longest context that a memory holds";
  panel.note = input.without_weights ? "The cache alone: no room is taken off for the weights."
                                     : "Beside the weights. A cross: they alone do not fit, or no limit.";
  panel.x = {.label = "memory", .whole = true};
  panel.y = {.label = "tokens of a sequence", .scale = plot::Scale::log10};
  plot::Lines lines;
  for (const ShownType& type : shown_types) {
    plot::Series series = series_of(type);
    for (const MemoryFit& fit : input.sizes->fits) {
      if (fit.type.name != type.name) continue;
      if (lines.series.empty()) panel.x.names.push_back(fit.memory.name);
      series.x.push_back(static_cast<double>(series.x.size()));
      series.y.push_back(fit.tokens.value_or(0) > 0 ? static_cast<double>(*fit.tokens) : TierLoad::none);
    }
    lines.series.push_back(std::move(series));
  }
  panel.marks.emplace_back(std::move(lines));
  if (input.context)
    panel.marks.emplace_back(context_line(plot::Reference::Direction::horizontal, *input.context));
  return panel;
}

/// Windows in every layer leave no limit, weights may leave no room.
bool any_limit(const CacheSizes& sizes) {
  return std::ranges::any_of(sizes.fits, [](const MemoryFit& fit) { return fit.tokens.value_or(0) > 0; });
}

NamedFigure projection_figure(const ProfileFigureInput& input) {
  plot::Figure figure;
  figure.title = "What the KV cache takes";
  figure.subtitle = input.subject;
  figure.caption = "f8 takes as much as int8 less its scales.";
  figure.panels.push_back(size_panel(input));
  if (any_limit(*input.sizes)) figure.panels.push_back(fit_panel(input));
  figure.columns = static_cast<int>(figure.panels.size());
  figure.height = 720;
  return {"profile/projection", std::move(figure)};
}

plot::Heatmap block_cells(const ProfileFigureInput& input, std::vector<double> z) {
  const BlockGrid& grid = input.profile->grid;
  const auto size = static_cast<double>(input.block_tokens);
  plot::Heatmap map;
  map.z = std::move(z);
  map.rows = static_cast<int>(grid.layers), map.cols = static_cast<int>(grid.columns);
  map.x0 = size / 2, map.dx = size;
  map.decimals = -1;
  map.nothing_label = "not kept: the layer's window has passed";
  return map;
}

plot::Panel block_panel(const ProfileFigureInput& input, const std::string& title, plot::Heatmap map) {
  plot::Panel panel = layer_panel(title, "", std::move(map));
  panel.x.label = fmt::format("token position, blocks of {}", input.block_tokens);
  return panel;
}

plot::Panel tier_panel(const ProfileFigureInput& input, const Placement& placement,
                       const std::string& title) {
  std::vector<double> z;
  for (const int tier : placement.tier) z.push_back(tier < 0 ? TierLoad::none : tier);
  plot::Heatmap map = block_cells(input, std::move(z));
  for (size_t i = 0; i < input.profile->tiers.size(); ++i) {
    const TierLoad& load = placement.load[i];
    std::string label = fmt::format("{}: {} blocks", input.profile->tiers[i].name, load.blocks);
    if (load.blocks == 0) label = fmt::format("{}: none", input.profile->tiers[i].name);
    if (load.blocks > 0) label += fmt::format(", {}", size_text(static_cast<double>(load.allocated)));
    if (load.blocks > 0 && !std::isnan(load.attention))
      label += fmt::format(", {:.1f} % of a step's attention", 100 * load.attention);
    map.categories.push_back({label, tier_colour(i)});
  }
  return block_panel(input, title, std::move(map));
}

plot::Panel reads_panel(const ProfileFigureInput& input) {
  plot::Heatmap map = block_cells(input, input.profile->access.rate);
  map.z_label = "share of the steps";
  map.z_scale = plot::Scale::log10;
  map.z_max = 1;
  return block_panel(input, "How often an entry was in demand, mean of the block", std::move(map));
}

NamedFigure block_map_figure(const ProfileFigureInput& input) {
  const CacheProfile& profile = *input.profile;
  plot::Figure figure;
  figure.title = "Where each block of the cache is kept";
  figure.panels.push_back(
      tier_panel(input, profile.placements[0], "By age: the newest blocks in the fastest tier"));
  const std::vector<TierLoad>& load = profile.placements[0].load;
  std::string& note = figure.panels.back().note;
  if (std::all_of(load.begin() + 1, load.end(), [](const TierLoad& tier) { return tier.blocks == 0; }))
    note = fmt::format("All of it fits in {}.", profile.tiers[0].name);
  else if (input.first_tokens > 0)
    note = fmt::format("Blocks of the first {} tokens (attention sinks) count as the newest.",
                       input.first_tokens);
  if (profile.placements.size() > 1) {
    figure.panels.push_back(tier_panel(input, profile.placements[1],
                                       "By measured access: blocks most in demand in the fastest tier"));
    figure.panels.push_back(reads_panel(input));
  }
  figure.height = 120 + 400 * static_cast<int>(figure.panels.size());
  return {"profile/block_map", std::move(figure)};
}

/// A unit that suits a number.
struct Unit {
  double size = 1;
  const char* name = "";
};
Unit unit_for(double largest, std::span<const Unit> units) {
  const auto fits = std::ranges::find_if(units, [&](const Unit& unit) { return largest >= unit.size; });
  return fits == units.end() ? units.back() : *fits;
}

enum class Quantity { bytes, seconds };

double moved(const CacheProfile& profile, const Placement& placement, double TierLoad::*bytes, size_t tier,
             Quantity what) {
  const double all = placement.load[tier].*bytes;
  return what == Quantity::bytes ? all : all / profile.tiers[tier].bytes_per_second;
}

double moved(const CacheProfile& profile, const Placement& placement, double TierLoad::*bytes,
             Quantity what) {
  double sum = 0;
  for (size_t i = 0; i < profile.tiers.size(); ++i) sum += moved(profile, placement, bytes, i, what);
  return sum;
}

/// What the demand of a step takes, stacked by tier, for each placement.
plot::Panel step_panel(const CacheProfile& profile, Quantity what) {
  static constexpr std::array<Unit, 4> sizes{{{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}, {1, "bytes"}}};
  static constexpr std::array<Unit, 4> times{{{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}}};
  const std::span<const Unit> units = what == Quantity::bytes ? sizes : times;
  std::vector<double> totals;
  for (const Placement& placement : profile.placements)
    totals.push_back(moved(profile, placement, &TierLoad::demand, what));
  const Unit unit = unit_for(std::ranges::max(totals), units);
  plot::Panel panel;
  panel.title = what == Quantity::bytes ? "Bytes that a decode step needs"
                                        : "Time to move them, one tier after the other (lower is better)";
  const double all = moved(profile, profile.placements[0], &TierLoad::held, what);
  const Unit all_unit = unit_for(all, units);
  panel.note = fmt::format("Exact attention, which reads every entry: {:.3g} {}{}.", all / all_unit.size,
                           all_unit.name, what == Quantity::bytes ? "" : ", placed by age");
  panel.x = {.label = "placement", .whole = true};
  static constexpr std::array<const char*, 3> names{"by age", "by access", "lower bound"};
  for (size_t i = 0; i < totals.size(); ++i)
    panel.x.names.push_back(fmt::format("{}: {:.3g} {}", names[i], totals[i] / unit.size, unit.name));
  panel.y = {.label = fmt::format("{} [{}]", what == Quantity::bytes ? "bytes" : "time", unit.name),
             .min = 0};
  plot::Bars stacked{.stacked = true};
  for (size_t i = 0; i < profile.tiers.size(); ++i) {
    plot::Bars::Group group{profile.tiers[i].name, {}, {}, tier_colour(i)};
    for (const Placement& placement : profile.placements)
      group.values.push_back(moved(profile, placement, &TierLoad::demand, i, what) / unit.size);
    stacked.groups.push_back(std::move(group));
  }
  panel.marks.emplace_back(std::move(stacked));
  return panel;
}

NamedFigure transfers_figure(const CacheProfile& profile) {
  plot::Figure figure;
  figure.title = "What a decode step moves, if it reads only entries in demand";
  figure.caption =
      "In demand: as often as the simulation measured. Lower bound: single entries in place of blocks, most "
      "in "
      "demand first. Bandwidths are those given, not measured.";
  figure.columns = 2;
  figure.height = 680;
  figure.panels = {step_panel(profile, Quantity::bytes), step_panel(profile, Quantity::seconds)};
  return {"profile/transfers", std::move(figure)};
}

}  // namespace

std::vector<NamedFigure> profile_figures(const ProfileFigureInput& input) {
  std::vector<NamedFigure> all{projection_figure(input), block_map_figure(input)};
  if (input.profile->placements.size() > 1) all.push_back(transfers_figure(*input.profile));
  return all;
}

}  // namespace kvviz::figures
