// SPDX-License-Identifier: MIT
#include "kvviz/figures/simulate_figures.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvviz/figures/simulate_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

/// One number of every policy and budget.
struct Measure {
  const char* title;
  const char* y;
  double PolicyOutcome::*value;
};

plot::Panel bars_panel(const PolicyGrid& grid, const std::string& title, plot::Axis y) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "policy", .whole = true, .names = grid.names()};
  panel.y = std::move(y);
  return panel;
}

/// A group a budget; `get` gives the value of an outcome.
template <class Get>
plot::Bars bars_of(const PolicyGrid& grid, Get get) {
  plot::Bars bars;
  for (size_t b = 0; b < grid.budgets().size(); ++b) {
    plot::Bars::Group group;
    group.colour = budget_colour(b, grid.budgets().size());
    for (const std::string& policy : grid.policies()) {
      const PolicyOutcome* outcome = grid.at(policy, grid.budgets()[b]);
      group.values.push_back(outcome == nullptr ? kNone : get(*outcome));
    }
    bars.groups.push_back(std::move(group));
  }
  return bars;
}

plot::Panel loss_panel(const SimulationStudy& study, const PolicyGrid& grid) {
  const LossScale scale = loss_scale(study);
  plot::Panel panel = bars_panel(grid, "Increase of perplexity (lower is better)",
                                 scale.axis("[%], whiskers: standard error"));
  plot::Bars bars =
      bars_of(grid, [&](const PolicyOutcome& o) { return scale.shown(loss_percent(study, o)); });
  for (size_t b = 0; b < bars.groups.size(); ++b)
    for (const std::string& policy : grid.policies()) {
      const PolicyOutcome* outcome = grid.at(policy, grid.budgets()[b]);
      const plot::ErrorBar bar = outcome == nullptr ? plot::ErrorBar{} : scale.bar(loss_of(study, *outcome));
      bars.groups[b].errors.push_back(bar.below), bars.groups[b].errors_above.push_back(bar.above);
    }
  panel.marks.emplace_back(std::move(bars));
  return panel;
}

plot::Panel share_panel(const PolicyGrid& grid, const Measure& measure) {
  plot::Panel panel = bars_panel(grid, measure.title, {.label = measure.y, .min = 0, .max = 1});
  panel.marks.emplace_back(bars_of(grid, [&](const PolicyOutcome& o) { return o.*measure.value; }));
  return panel;
}

/// From 0, or on a log axis where the values reach over decades.
plot::Panel size_panel(const PolicyGrid& grid, const Measure& measure) {
  plot::Bars bars = bars_of(grid, [&](const PolicyOutcome& o) { return o.*measure.value; });
  double low = std::numeric_limits<double>::infinity(), high = 0;
  for (const plot::Bars::Group& group : bars.groups)
    for (const double value : group.values)
      if (value > 0) low = std::min(low, value), high = std::max(high, value);
  plot::Axis axis{.label = measure.y};
  constexpr double decades = 100;
  if (high > decades * low)
    axis.scale = plot::Scale::log10;
  else
    axis.min = 0;
  plot::Panel panel = bars_panel(grid, measure.title, std::move(axis));
  panel.marks.emplace_back(std::move(bars));
  return panel;
}

bool measured(const plot::Panel& panel) {
  return std::ranges::any_of(std::get<plot::Bars>(panel.marks[0]).groups, [](const auto& group) {
    return std::ranges::any_of(group.values, [](double value) { return std::isfinite(value); });
  });
}

}  // namespace

plot::Figure policies_figure(const SimulationStudy& study, const PolicyGrid& grid) {
  plot::Figure figure;
  figure.title = "All policies, all budgets";
  figure.columns = 2;
  for (size_t b = 0; b < grid.budgets().size(); ++b)
    figure.legend.push_back({"budget " + grid.budget_labels()[b], budget_colour(b, grid.budgets().size())});
  figure.panels = {loss_panel(study, grid),
                   size_panel(grid, {"Divergence of the predictions (lower is better)",
                                     "KL(full || policy) [nats]", &PolicyOutcome::kl}),
                   share_panel(grid, {"Same most likely token (higher is better)", "share of predictions",
                                      &PolicyOutcome::top1_agreement}),
                   share_panel(grid, {"Attention recall (higher is better)", "share of full-cache weight",
                                      &PolicyOutcome::recall}),
                   share_panel(grid, {"Demand hit rate (higher is better)", "share of demanded keys held",
                                      &PolicyOutcome::demand_hit_rate}),
                   size_panel(grid, {"Error of the attention output (lower is better)",
                                     "relative to the output", &PolicyOutcome::output_error})};
  std::erase_if(figure.panels, [](const plot::Panel& panel) { return !measured(panel); });
  constexpr int row = 480;
  figure.height = row * std::max(1, static_cast<int>(figure.panels.size() + 1) / 2);
  figure.caption =
      "Policies from the least mean loss to the greatest, clairvoyant ones last." + grid.explained();
  return figure;
}

std::vector<NamedFigure> simulate_figures(const SimulationStudy& study, const std::string& what) {
  std::vector<NamedFigure> all;
  if (study.outcomes.empty()) return all;
  const PolicyGrid grid(study);
  all = {{"simulate/frontier", frontier_figure(study, grid)},
         {"simulate/perplexity_by_budget", perplexity_figure(study, grid)},
         {"simulate/policies_panel", policies_figure(study, grid)}};
  if (std::ranges::any_of(study.outcomes, [](const PolicyOutcome& o) { return !o.heads.empty(); })) {
    all.push_back({"simulate/recall_by_layer", recall_figure(study, grid)});
    all.push_back({"simulate/output_error_by_layer", output_error_figure(study, grid)});
  }
  if (plot::Figure budgets = unequal_budgets_figure(study, grid); !budgets.panels.empty())
    all.push_back({"simulate/budget_by_layer", std::move(budgets)});
  const auto add = [&](const char* name, std::vector<plot::Figure> figures) {
    for (size_t i = 0; i < figures.size(); ++i) all.push_back({numbered(name, i), std::move(figures[i])});
  };
  add("retention", retention_figures(study, grid));
  add("token_strip", token_strip_figures(study, grid));
  const std::string subtitle = study_subtitle(study, what);
  for (NamedFigure& named : all)
    named.figure.subtitle =
        named.figure.subtitle.empty() ? subtitle : named.figure.subtitle + "; " + subtitle;
  return all;
}

}  // namespace kvviz::figures
