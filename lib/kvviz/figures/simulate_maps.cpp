// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/simulate_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

constexpr size_t most_columns = 4;

/// Mean over the heads of each layer; heads without the number are left out.
std::vector<double> by_layer(const PolicyOutcome* outcome, double HeadOutcome::*value, int layers) {
  const auto n = static_cast<size_t>(std::max(layers, 1));
  std::vector<double> sum(n, 0), count(n, 0);
  if (outcome != nullptr)
    for (const HeadOutcome& head : outcome->heads) {
      const auto layer = static_cast<size_t>(head.layer);
      if (layer < n && std::isfinite(head.*value)) sum[layer] += head.*value, ++count[layer];
    }
  for (size_t i = 0; i < n; ++i) sum[i] = count[i] > 0 ? sum[i] / count[i] : kNone;
  return sum;
}

/// How many keys the fullest set holds beyond the emptiest.
double unevenness(const PolicyOutcome& outcome) {
  if (outcome.sets.empty()) return 0;
  const auto [least, most] = std::ranges::minmax(outcome.sets, {}, &SetOutcome::final_entries);
  return most.final_entries - least.final_entries;
}

/// The bound depends on how many keys a set has: that of a policy that treats all sets alike, if there is
/// one.
const PolicyOutcome* with_bound(const PolicyGrid& grid, const std::string& budget) {
  const PolicyOutcome* any = nullptr;
  for (const std::string& policy : grid.policies()) {
    const PolicyOutcome* outcome = grid.at(policy, budget);
    if (outcome == nullptr || outcome->heads.empty()) continue;
    if (any == nullptr || unevenness(*outcome) < unevenness(*any)) any = outcome;
  }
  return any;
}

struct LayerMap {
  const char* z_label;
  double HeadOutcome::*value;
  bool bounded = false;  ///< a row for the bound, and a scale that ends at 1
};

void share_scale(plot::Figure& figure, const LayerMap& map) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  const auto each_map = [&](auto&& visit) {
    for (plot::Panel& panel : figure.panels)
      for (plot::Mark& mark : panel.marks) visit(std::get<plot::Heatmap>(mark));
  };
  each_map([&](const plot::Heatmap& heat) {
    for (const double z : heat.z)
      if (std::isfinite(z)) low = std::min(low, z), high = std::max(high, z);
  });
  if (low > high) low = 0, high = 1;
  each_map([&](plot::Heatmap& heat) {
    heat.z_min = map.bounded ? std::floor(10 * low) / 10 : 0;
    heat.z_max = map.bounded ? 1 : std::clamp(high, 1e-6, 1.0);
  });
}

plot::Figure layer_figure(const SimulationStudy& study, const PolicyGrid& grid, const LayerMap& what) {
  plot::Figure figure;
  const size_t budgets = grid.budgets().size();
  figure.columns = static_cast<int>(std::min(most_columns, std::max<size_t>(budgets, 1)));
  const auto columns = static_cast<size_t>(figure.columns);
  std::vector<std::string> rows = grid.names();
  if (what.bounded) rows.emplace_back("bound (best set)");
  for (size_t b = 0; b < budgets; ++b) {
    plot::Heatmap heat;
    heat.rows = static_cast<int>(rows.size()), heat.cols = std::max(study.layers, 1);
    for (size_t r = 0; r < rows.size(); ++r) {
      const bool bound = r >= grid.policies().size();
      const PolicyOutcome* outcome =
          bound ? with_bound(grid, grid.budgets()[b]) : grid.at(grid.policies()[r], grid.budgets()[b]);
      const auto layers = by_layer(outcome, bound ? &HeadOutcome::bound : what.value, study.layers);
      heat.z.insert(heat.z.end(), layers.begin(), layers.end());
    }
    if (at_right_edge(b, budgets, figure.columns)) heat.z_label = what.z_label;
    plot::Panel panel;
    panel.title = "Budget " + grid.budget_labels()[b];
    panel.x = {.label = "layer", .whole = true};
    panel.y.names = b % columns == 0 ? rows : std::vector<std::string>(rows.size());
    panel.marks.emplace_back(std::move(heat));
    figure.panels.push_back(std::move(panel));
  }
  share_scale(figure, what);
  figure.column_weights = even_columns(figure, {rows});
  const size_t panel_rows = (budgets + columns - 1) / columns;
  figure.height = static_cast<int>(150 + panel_rows * (110 + 27 * std::max<size_t>(rows.size(), 6)));
  return figure;
}

/// Layers down, sets across: how much more or less than the mean each holds at the end.
plot::Panel sets_panel(const PolicyOutcome& outcome) {
  double mean = 0;
  bool per_query_head = false;
  for (const SetOutcome& set : outcome.sets) {
    mean += set.final_entries / static_cast<double>(outcome.sets.size());
    per_query_head |= std::ranges::any_of(outcome.sets, [&](const SetOutcome& other) {
      return &other != &set && other.layer == set.layer && other.kv_head == set.kv_head;
    });
  }
  std::vector<MatrixEntry> entries;
  for (const SetOutcome& set : outcome.sets)
    entries.push_back({set.layer, per_query_head ? set.first_query_head : set.kv_head,
                       mean > 0 ? 100 * (set.final_entries / mean - 1) : kNone});
  plot::Heatmap map = matrix(entries, "keys beside the mean [%]");
  map.map = plot::ColourMap::diverging;
  map.decimals = 0;
  plot::Panel panel = layer_panel("", per_query_head ? "query head" : "KV head", std::move(map));
  panel.note = fmt::format("mean: {:.1f} keys a set", mean);
  return panel;
}

}  // namespace

plot::Figure recall_figure(const SimulationStudy& study, const PolicyGrid& grid) {
  plot::Figure figure = layer_figure(study, grid, {"attention recall", &HeadOutcome::recall, true});
  figure.title = "How much of the attention does each policy keep, layer by layer?";
  figure.caption =
      "Share of the full cache's attention weight that falls on the keys held, mean over heads (higher is "
      "better). Last row: the most that any set of as many keys has; a policy with unequal budgets may pass "
      "it in "
      "the layers that get more." +
      grid.explained();
  return figure;
}

plot::Figure output_error_figure(const SimulationStudy& study, const PolicyGrid& grid) {
  plot::Figure figure =
      layer_figure(study, grid, {"relative output error", &HeadOutcome::output_error, false});
  figure.title = "How far is the attention output off, layer by layer?";
  figure.caption =
      "|output - full output| / |full output|, mean over heads and steps (lower is better, 0: exact). The "
      "colours end at 1: an error as large as the output." +
      grid.explained();
  return figure;
}

plot::Figure unequal_budgets_figure(const SimulationStudy&, const PolicyGrid& grid) {
  constexpr double rounding = 1.5;  // keys: whole numbers do not divide evenly
  constexpr double meant = 0.2;     // of the mean: what a rule evicts beyond its budget differs by less
  constexpr size_t most_panels = 24;
  plot::Figure figure;
  figure.columns = static_cast<int>(std::clamp<size_t>(grid.budgets().size(), 1, most_columns));
  for (const std::string& policy : grid.policies()) {
    const bool uneven = std::ranges::any_of(grid.budgets(), [&](const std::string& budget) {
      const PolicyOutcome* outcome = grid.at(policy, budget);
      return outcome != nullptr && unevenness(*outcome) > std::max(rounding, meant * outcome->final_entries);
    });
    for (size_t b = 0; uneven && b < grid.budgets().size() && figure.panels.size() < most_panels; ++b) {
      const PolicyOutcome* outcome = grid.at(policy, grid.budgets()[b]);
      if (outcome == nullptr || outcome->sets.empty()) continue;
      figure.panels.push_back(sets_panel(*outcome));
      figure.panels.back().title = fmt::format("{}, budget {}", policy, grid.budget_labels()[b]);
    }
  }
  double widest = 0;
  for (const plot::Panel& panel : figure.panels)
    for (const double z : std::get<plot::Heatmap>(panel.marks[0]).z)
      if (std::isfinite(z)) widest = std::max(widest, std::abs(z));
  for (size_t i = 0; i < figure.panels.size(); ++i) {
    auto& map = std::get<plot::Heatmap>(figure.panels[i].marks[0]);
    map.z_min = -widest, map.z_max = widest;
    if (!at_right_edge(i, figure.panels.size(), figure.columns)) map.z_label.clear();
  }
  figure.column_weights = even_columns(figure, {.names = {}, .y_label = true});
  figure.title = "Where do the keys go? Policies that give layers or heads unequal budgets";
  figure.caption = "Keys held at the end in each set, in percent more (red) or fewer (blue) than the mean.";
  const auto rows = (static_cast<int>(figure.panels.size()) + figure.columns - 1) / figure.columns;
  figure.height = 140 + 320 * std::max(rows, 1);
  return figure;
}

}  // namespace kvviz::figures
