// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "kvviz/figures/simulate_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

enum Fate : int { held, evicted, sink, heavy, not_read };

/// Without labels: the figure's own legend names them once.
std::vector<plot::Category> fates() {
  return {{"", {0x93a1af}},
          {"", {0xffffff}},
          {"", plot::colours::sink},
          {"", plot::colours::heavy_hitter},
          {"", {0xe9e7e2}}};
}

std::vector<plot::Category> fate_legend() {
  std::vector<plot::Category> legend = fates();
  const char* const names[] = {"held", "evicted", "sink key, held", "heavy hitter, held", "not read yet"};
  for (size_t i = 0; i < legend.size(); ++i) legend[i].label = names[i];
  std::swap(legend[1], legend[3]), std::swap(legend[1], legend[2]);
  return legend;
}

/// How many tokens share a cell: cells have to be seen beside `columns` - 1 other maps.
int64_t cell_tokens(int64_t tokens, int columns) {
  const int64_t most_cells = 600 / columns;
  return std::max<int64_t>(1, (tokens + most_cells - 1) / most_cells);
}

/// What `counts` keys of a cell have become. One sink decides: it would not be seen otherwise.
Fate fate_of(const std::array<int64_t, 5>& counts, int64_t block) {
  if (counts[sink] > 0) return sink;
  if (2 * counts[not_read] > block) return not_read;
  if (counts[held] + counts[heavy] == 0) return counts[evicted] > 0 ? evicted : not_read;
  if (counts[heavy] >= counts[held]) return heavy;
  return counts[held] >= counts[evicted] ? held : evicted;
}

/// Row: step; column: key. A cell is a block of keys at the last of a block of steps.
plot::Heatmap fate_map(const RetentionMap& map, int64_t block) {
  const int64_t cells = std::max<int64_t>((map.tokens + block - 1) / block, 1);
  std::vector<Fate> kind(static_cast<size_t>(std::max<int64_t>(map.tokens, 1)), held);
  const auto paint = [&](const std::vector<int64_t>& keys, Fate fate) {
    for (const int64_t key : keys)
      if (key >= 0 && key < map.tokens) kind[static_cast<size_t>(key)] = fate;
  };
  paint(map.heavy, heavy), paint(map.sinks, sink);
  plot::Heatmap heat;
  heat.rows = heat.cols = static_cast<int>(cells);
  heat.dx = heat.dy = static_cast<double>(block);
  heat.x0 = heat.y0 = static_cast<double>(block - 1) / 2;
  heat.categories = fates();
  for (int64_t row = 0; row < cells; ++row) {
    const int64_t step = std::min((row + 1) * block, map.tokens) - 1;
    for (int64_t col = 0; col < cells; ++col) {
      std::array<int64_t, 5> counts{};
      for (int64_t key = col * block; key < std::min((col + 1) * block, map.tokens); ++key) {
        const auto at = static_cast<size_t>(key);
        const bool kept = at < map.last_step.size() && map.last_step[at] >= step;
        ++counts[key > step ? not_read : kept ? kind[at] : evicted];
      }
      heat.z.push_back(fate_of(counts, block));
    }
  }
  return heat;
}

int columns_for(size_t panels) {
  return panels <= 3 ? static_cast<int>(std::max<size_t>(panels, 1)) : panels <= 8 ? 4 : 5;
}

plot::Figure retention_figure(std::vector<const RetentionMap*> maps, const PolicyGrid& grid) {
  constexpr size_t most_panels = 25;
  std::ranges::stable_sort(maps, {}, [&](const RetentionMap* map) { return grid.rank(map->policy); });
  if (maps.size() > most_panels) maps.resize(most_panels);
  const RetentionMap& first = *maps.front();
  plot::Figure figure;
  figure.title = "Who is evicted when?";
  figure.subtitle = fmt::format("Layer {}, KV head {}, budget {}, the first text", first.layer, first.kv_head,
                                budget_label(first.budget, static_cast<double>(first.tokens)));
  figure.legend = fate_legend();
  figure.caption =
      "Every column is a key, every row a step, from the top down. Sink keys and heavy hitters are those of "
      "the full cache." +
      grid.explained();
  figure.columns = columns_for(maps.size());
  const int64_t block = cell_tokens(first.tokens, figure.columns);
  if (block > 1)
    figure.caption +=
        fmt::format(" A cell stands for {} keys and as many steps; one sink among them colours it.", block);
  for (const RetentionMap* map : maps) {
    plot::Panel panel;
    panel.title = grid.name(map->policy);
    panel.x = {.label = "key: token position", .whole = true};
    panel.y = {.label = "step", .whole = true};
    panel.marks.emplace_back(fate_map(*map, block));
    figure.panels.push_back(std::move(panel));
  }
  const int rows = (static_cast<int>(maps.size()) + figure.columns - 1) / figure.columns;
  figure.height = 130 + rows * std::min(620, 130 + 1000 / figure.columns);
  return figure;
}

/// Policy x token. `places`: tokens, in this order; -1: a gap.
plot::Heatmap survival_map(const std::vector<const TokenSurvival*>& rows,
                           const std::vector<int64_t>& places) {
  plot::Heatmap map;
  map.rows = static_cast<int>(rows.size()), map.cols = static_cast<int>(places.size());
  for (const TokenSurvival* row : rows)
    for (const int64_t place : places)
      map.z.push_back(place >= 0 && place < std::ssize(row->held) ? row->held[static_cast<size_t>(place)]
                                                                  : kNone);
  map.z_label = "share of sets";
  map.z_min = 0, map.z_max = 1;
  map.decimals = -1;
  return map;
}

plot::Panel strip_panel(const std::string& title, const std::vector<const TokenSurvival*>& rows,
                        const PolicyGrid& grid, plot::Heatmap map) {
  plot::Panel panel;
  panel.title = title;
  for (const TokenSurvival* row : rows) panel.y.names.push_back(grid.name(row->policy));
  panel.x = {.label = "token position", .whole = true};
  panel.marks.emplace_back(std::move(map));
  return panel;
}

plot::Figure strip_figure(const SimulationStudy& study, std::vector<const TokenSurvival*> rows,
                          const PolicyGrid& grid) {
  constexpr int64_t most_named = 68, at_start = 50, at_end = 16;
  std::ranges::stable_sort(rows, {}, [&](const TokenSurvival* row) { return grid.rank(row->policy); });
  int64_t tokens = 1;
  for (const TokenSurvival* row : rows) tokens = std::max<int64_t>(tokens, std::ssize(row->held));
  plot::Figure figure;
  figure.title = "Which tokens live to the end?";
  figure.subtitle = fmt::format("Budget {}, the first text",
                                budget_label(rows.front()->budget, static_cast<double>(tokens)));
  figure.caption = "Share of the sets of keys, over all layers and heads, that hold the token at the end." +
                   grid.explained();
  const bool all = tokens <= most_named;
  std::vector<int64_t> named, every;
  for (int64_t t = 0; t < tokens; ++t) {
    every.push_back(t);
    if (all || t < at_start || t >= tokens - at_end) named.push_back(t);
    if (!all && t == at_start) named.push_back(-1);
  }
  plot::Panel words = strip_panel(all ? "All tokens" : "The first tokens and the last", rows, grid,
                                  survival_map(rows, named));
  const std::vector<std::string> texts = token_names(study.first_text);
  for (const int64_t place : named)
    words.x.names.push_back(place < 0                   ? "…"
                            : place < std::ssize(texts) ? texts[static_cast<size_t>(place)]
                                                        : std::to_string(place));
  words.x.label = "token";
  if (!all) std::get<plot::Heatmap>(words.marks[0]).nothing_label = "tokens left out";
  if (!all) figure.panels.push_back(strip_panel("All tokens", rows, grid, survival_map(rows, every)));
  figure.panels.push_back(std::move(words));
  const int height = 24 * std::max<int>(static_cast<int>(rows.size()), 6);
  figure.height = 150 + (all ? 250 + height : 360 + 2 * height);
  if (!all) figure.row_weights = {100.0 + height, 260.0 + height};
  return figure;
}

/// What has the same key, in the order of appearance; without `full`, which evicts nothing.
template <class Item, class Key>
std::vector<std::vector<const Item*>> grouped(const std::vector<Item>& items, const PolicyGrid& grid,
                                              Key key) {
  std::vector<std::vector<const Item*>> groups;
  for (const Item& item : items) {
    if (grid.rank(item.policy) >= grid.policies().size()) continue;
    const auto same =
        std::ranges::find_if(groups, [&](const auto& group) { return key(*group.front()) == key(item); });
    if (same == groups.end())
      groups.push_back({&item});
    else
      same->push_back(&item);
  }
  return groups;
}

}  // namespace

std::vector<plot::Figure> retention_figures(const SimulationStudy& study, const PolicyGrid& grid) {
  std::vector<plot::Figure> figures;
  for (auto& maps : grouped(study.retention, grid, [](const RetentionMap& map) {
         return std::tuple(map.budget, map.layer, map.kv_head);
       }))
    figures.push_back(retention_figure(std::move(maps), grid));
  return figures;
}

std::vector<plot::Figure> token_strip_figures(const SimulationStudy& study, const PolicyGrid& grid) {
  std::vector<plot::Figure> figures;
  for (auto& rows : grouped(study.survival, grid, [](const TokenSurvival& row) { return row.budget; }))
    figures.push_back(strip_figure(study, std::move(rows), grid));
  return figures;
}

}  // namespace kvviz::figures
