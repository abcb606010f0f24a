// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/simulate_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

/// The cells of one budget.
struct Needle {
  std::vector<const NeedleCell*> cells;
  std::vector<std::string> policies;  // in the order of the grid
  std::vector<double> depths;
  std::vector<int64_t> lengths;
  std::string label;  // of the budget
};

template <class T>
void note(std::vector<T>& values, const T& value) {
  if (std::ranges::find(values, value) == values.end()) values.push_back(value);
}

/// Without the full cache, the reference, unless there is nothing else.
std::vector<Needle> by_budget(const PolicyGrid& grid, std::span<const NeedleCell> cells) {
  const auto full = [](const NeedleCell& cell) { return cell.policy == "full"; };
  const bool only_full = std::ranges::all_of(cells, full);
  const auto shown = [&](const NeedleCell& cell) { return only_full || !full(cell); };
  std::vector<std::string> budgets;
  for (const NeedleCell& cell : cells)
    if (shown(cell)) note(budgets, cell.budget);
  std::vector<Needle> out(budgets.size());
  for (const NeedleCell& cell : cells) {
    if (!shown(cell)) continue;
    Needle& needle = out[static_cast<size_t>(std::ranges::find(budgets, cell.budget) - budgets.begin())];
    needle.cells.push_back(&cell);
    needle.label = budget_label(cell.budget, static_cast<double>(cell.length));
    note(needle.policies, cell.policy);
    note(needle.depths, cell.depth);
    note(needle.lengths, cell.length);
  }
  for (Needle& needle : out) {
    std::ranges::sort(needle.depths), std::ranges::sort(needle.lengths);
    std::ranges::stable_sort(needle.policies, {}, [&](const auto& policy) { return grid.rank(policy); });
  }
  return out;
}

/// What is left of the needle's worth to the full cache.
double found(const NeedleCell& cell) {
  const double worth = cell.log_p_full - cell.log_p_absent;
  return worth > 0 ? std::clamp((cell.log_p - cell.log_p_absent) / worth, 0.0, 1.0) : kNone;
}

double survival(const NeedleCell& cell) {
  return cell.survival;
}

/// Depth down, length across.
plot::Panel grid_panel(const PolicyGrid& grid, const Needle& needle, const std::string& policy,
                       double (*get)(const NeedleCell&)) {
  std::vector<MatrixEntry> entries;
  const auto place = [](const auto& values, const auto& value) {
    return static_cast<int64_t>(std::ranges::find(values, value) - values.begin());
  };
  for (const NeedleCell* cell : needle.cells)
    if (cell->policy == policy)
      entries.push_back({place(needle.depths, cell->depth), place(needle.lengths, cell->length), get(*cell)});
  // The last corner, so that the grid is whole though a policy lacks some cells.
  const MatrixEntry corner{std::ssize(needle.depths) - 1, std::ssize(needle.lengths) - 1, kNone};
  entries.insert(entries.begin(), corner);
  plot::Panel panel;
  panel.title = grid.name(policy);
  panel.x = {.label = "length of the text [tokens]", .whole = true};
  panel.y = {.label = "depth of the needle", .whole = true};
  for (const int64_t length : needle.lengths) panel.x.names.push_back(std::to_string(length));
  for (const double depth : needle.depths) panel.y.names.push_back(fmt::format("{:.3g} %", 100 * depth));
  panel.marks.emplace_back(matrix(entries, ""));
  return panel;
}

plot::Figure grid_figure(const PolicyGrid& grid, const Needle& needle, double (*get)(const NeedleCell&),
                         const char* z_label) {
  plot::Figure figure;
  const size_t panels = needle.policies.size();
  figure.columns = static_cast<int>(panels <= 3 ? std::max<size_t>(panels, 1) : 4);
  const auto columns = static_cast<size_t>(figure.columns);
  for (size_t i = 0; i < panels; ++i) {
    plot::Panel panel = grid_panel(grid, needle, needle.policies[i], get);
    auto& map = std::get<plot::Heatmap>(panel.marks[0]);
    if (at_right_edge(i, panels, figure.columns)) map.z_label = z_label;
    if (i % columns != 0) panel.y.label.clear(), panel.y.names.assign(needle.depths.size(), "");
    map.z_min = 0, map.z_max = 1;
    figure.panels.push_back(std::move(panel));
  }
  figure.column_weights = even_columns(figure, {.names = {"100 %"}, .y_label = false});
  const auto rows = static_cast<int>((panels + columns - 1) / columns);
  figure.height = 160 + rows * (130 + std::clamp<int>(30 * static_cast<int>(needle.depths.size()), 150, 500));
  return figure;
}

std::string range_of(const Needle& needle, double NeedleCell::*value) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const NeedleCell* cell : needle.cells)
    if (std::isfinite(cell->*value)) low = std::min(low, cell->*value), high = std::max(high, cell->*value);
  if (low > high) return "not measured";
  return high - low < 0.005 ? fmt::format("{:.2f}", low) : fmt::format("{:.2f} to {:.2f}", low, high);
}

plot::Figure found_figure(const PolicyGrid& grid, const Needle& needle) {
  plot::Figure figure = grid_figure(grid, needle, found, "share of what the needle is worth");
  figure.title = "Is the needle still found?";
  for (plot::Panel& panel : figure.panels)
    std::get<plot::Heatmap>(panel.marks[0]).nothing_label = "not measured, or no help to the full cache";
  figure.caption = fmt::format(
      "How far the needle raises ln p(answer) per answer token, as a share of how far it does with the full "
      "cache: from 0, no likelier than without the needle (ln p {}), to 1, as with the full cache ({}), each "
      "at its depth and length. Less and more are shown as 0 and 1.",
      range_of(needle, &NeedleCell::log_p_absent), range_of(needle, &NeedleCell::log_p_full));
  return figure;
}

plot::Figure survival_figure(const PolicyGrid& grid, const Needle& needle) {
  plot::Figure figure = grid_figure(grid, needle, survival, "share of keys held");
  figure.title = "Is the needle still in the cache?";
  figure.caption = "Share of the needle's keys held when the answer begins, over all layers and heads.";
  return figure;
}

/// Policy x layer, mean over the grid. No panel: not measured.
plot::Figure layers_figure(const PolicyGrid& grid, const Needle& needle) {
  std::vector<MatrixEntry> entries;
  for (size_t r = 0; r < needle.policies.size(); ++r) {
    std::vector<double> sum, count;
    for (const NeedleCell* cell : needle.cells) {
      if (cell->policy != needle.policies[r]) continue;
      for (const NeedleSet& set : cell->sets) {
        const auto layer = static_cast<size_t>(set.layer);
        if (sum.size() <= layer) sum.resize(layer + 1), count.resize(layer + 1);
        sum[layer] += set.survival, ++count[layer];
      }
    }
    for (size_t l = 0; l < sum.size(); ++l)
      entries.push_back(
          {static_cast<int64_t>(r), static_cast<int64_t>(l), count[l] > 0 ? sum[l] / count[l] : kNone});
  }
  plot::Figure figure;
  figure.title = "In which layers does the needle stay in the cache?";
  figure.caption = "Share of the needle's keys held when the answer begins, mean over depths and lengths.";
  figure.height = static_cast<int>(240 + 27 * std::max<size_t>(needle.policies.size(), 8));
  if (entries.empty()) return figure;
  plot::Panel panel;
  panel.title = "Survival by layer";
  panel.x = {.label = "layer", .whole = true};
  for (const std::string& policy : needle.policies) panel.y.names.push_back(grid.name(policy));
  plot::Heatmap map = matrix(entries, "share of keys held");
  map.z_min = 0, map.z_max = 1;
  panel.marks.emplace_back(std::move(map));
  figure.panels.push_back(std::move(panel));
  return figure;
}

}  // namespace

std::vector<NamedFigure> needle_figures(const SimulationStudy& study, std::span<const NeedleCell> cells,
                                        const std::string& what) {
  std::vector<NamedFigure> all;
  if (cells.empty()) return all;
  const PolicyGrid grid(study);
  const std::vector<Needle> needles = by_budget(grid, cells);
  for (size_t i = 0; i < needles.size(); ++i) {
    const size_t first = all.size();
    all.push_back({numbered("needle", i), found_figure(grid, needles[i])});
    all.push_back({numbered("needle_survival", i), survival_figure(grid, needles[i])});
    if (plot::Figure layers = layers_figure(grid, needles[i]); !layers.panels.empty())
      all.push_back({numbered("needle_survival_by_layer", i), std::move(layers)});
    for (size_t k = first; k < all.size(); ++k) {
      all[k].figure.subtitle = (what.empty() ? "" : what + "; ") + "budget " + needles[i].label;
      all[k].figure.caption += grid.explained();
    }
  }
  return all;
}

}  // namespace kvviz::figures
