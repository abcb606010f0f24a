// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvviz/figures/simulate_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

constexpr plot::Colour frontier_colour{0xffd54a};
constexpr const char* loss_label = "increase of perplexity over the full cache [%] (lower is better)";

std::string dashed_note(const PolicyGrid& grid) {
  return grid.star().empty() ? "" : " Grey, dashed: reads the future; a yardstick, not to ship.";
}

std::vector<const PolicyOutcome*> frontier_of(const SimulationStudy& study) {
  std::vector<const PolicyOutcome*> points;
  for (const PolicyOutcome& outcome : study.outcomes)
    if (outcome.on_frontier && std::isfinite(memory_percent(outcome))) points.push_back(&outcome);
  std::ranges::stable_sort(points, {}, [](const PolicyOutcome* point) { return memory_percent(*point); });
  return points;
}

/// The least loss at a memory or less: steps from each point of the frontier to the next.
plot::Series frontier_steps(const SimulationStudy& study, const LossScale& scale, double end) {
  plot::Series steps{.label = "frontier: the least loss at this memory or less (ringed)"};
  steps.colour = frontier_colour;
  steps.marker = plot::Marker::none;
  steps.width = 4.5;
  for (const PolicyOutcome* point : frontier_of(study)) {
    const double x = memory_percent(*point);
    if (!steps.y.empty()) steps.x.push_back(x), steps.y.push_back(steps.y.back());
    steps.x.push_back(x), steps.y.push_back(scale.shown(loss_percent(study, *point)));
  }
  if (!steps.x.empty()) steps.x.push_back(std::max(end, steps.x.back())), steps.y.push_back(steps.y.back());
  return steps;
}

plot::Series rings(const SimulationStudy& study, const LossScale& scale) {
  plot::Series ring;
  ring.stroke = plot::Stroke::points;
  ring.marker = plot::Marker::ring;
  ring.colour = plot::colours::text;
  for (const PolicyOutcome* point : frontier_of(study)) {
    ring.x.push_back(memory_percent(*point));
    ring.y.push_back(scale.shown(loss_percent(study, *point)));
  }
  return ring;
}

/// The policy's line over memory. Bars reach down to the floor at most.
plot::Series loss_line(const SimulationStudy& study, const PolicyGrid& grid, const LossScale& scale,
                       const std::string& policy) {
  plot::Series line = policy_line(grid, policy);
  line.end_label = policy;
  bool best = false;
  for (const std::string& budget : grid.budgets()) {
    const PolicyOutcome* outcome = grid.at(policy, budget);
    if (outcome == nullptr) continue;
    const double loss = loss_percent(study, *outcome), error = loss_error(study, *outcome);
    const plot::ErrorBar bar = scale.bar(loss, error);
    line.x.push_back(memory_percent(*outcome)), line.y.push_back(scale.shown(loss));
    line.errors.push_back(bar.below), line.errors_above.push_back(bar.above);
    best = best || outcome->on_frontier;
  }
  line.strong = best;
  line.width = best ? 1.5 : 0.75;
  return line;
}

/// Of the policies that can be shipped, the one with the least loss; null: none has a number.
const PolicyOutcome* best_at(const PolicyGrid& grid, const std::string& budget) {
  const PolicyOutcome* best = nullptr;
  for (const std::string& policy : grid.policies()) {
    const PolicyOutcome* outcome = grid.at(policy, budget);
    if (outcome == nullptr || outcome->clairvoyant || !std::isfinite(outcome->delta_nll)) continue;
    if (outcome->resident_bytes >= outcome->full_bytes) continue;
    if (best == nullptr || outcome->delta_nll < best->delta_nll) best = outcome;
  }
  return best;
}

std::string loss_words(const SimulationStudy& study, const PolicyOutcome& outcome) {
  std::string words = percent_label(loss_percent(study, outcome));
  const double error = loss_error(study, outcome);
  if (std::isfinite(error)) words += fmt::format(" ± {}", percent_label(error).substr(1));
  return words;
}

/// Policies whose loss lies within two standard errors of the difference from the best one's. The losses are
/// paired with the full cache and not with each other: this is cautious.
std::string ties(const PolicyGrid& grid, const PolicyOutcome& best) {
  std::string names;
  for (const std::string& policy : grid.policies()) {
    const PolicyOutcome* other = grid.at(policy, best.budget);
    if (other == nullptr || other == &best || other->clairvoyant) continue;
    if (other->resident_bytes >= other->full_bytes) continue;
    const double error = std::hypot(best.delta_nll_se, other->delta_nll_se);
    if (other->delta_nll - best.delta_nll <= 2 * error) names += (names.empty() ? "" : ", ") + policy;
  }
  return names;
}

std::string answer(const SimulationStudy& study, const PolicyGrid& grid) {
  std::string text;
  for (size_t b = 0; b < grid.budgets().size(); ++b) {
    const PolicyOutcome* best = best_at(grid, grid.budgets()[b]);
    if (best == nullptr) continue;
    text +=
        fmt::format("{}{}: {} ({}, {} resident", text.empty() ? "Best at " : "; at ", grid.budget_labels()[b],
                    best->policy, loss_words(study, *best), bytes_label(best->resident_bytes));
    const std::string alike = ties(grid, *best);
    text += alike.empty() ? ")" : "; not told apart from it: " + alike + ")";
  }
  return text.empty() ? text : text + ".";
}

}  // namespace

plot::Figure frontier_figure(const SimulationStudy& study, const PolicyGrid& grid) {
  std::vector<double> losses;
  for (const PolicyOutcome& outcome : study.outcomes) {
    losses.push_back(loss_percent(study, outcome));
  }
  const LossScale scale(losses);
  plot::Panel panel;
  panel.title = "Loss against memory";
  const std::string full = study.outcomes.empty() ? "" : bytes_label(study.outcomes.front().full_bytes);
  panel.x = {.label = fmt::format("resident memory, % of the full cache ({})", full),
             .scale = plot::Scale::log10};
  panel.y = scale.axis(loss_label);
  panel.note =
      fmt::format("Bars: standard error. At ≤ {:g} %: all that lose no more, or gain.{}{}", scale.floor(),
                  scale.capped() ? " At the top: all that lose more." : "", dashed_note(grid));
  plot::Lines lines;
  double end = 0;
  for (const PolicyOutcome& outcome : study.outcomes)
    if (std::isfinite(memory_percent(outcome))) end = std::max(end, memory_percent(outcome));
  if (plot::Series steps = frontier_steps(study, scale, end); !steps.x.empty())
    lines.series.push_back(std::move(steps));
  const std::vector<std::string>& policies = grid.policies();
  for (size_t i = policies.size(); i-- > 0;)  // the best last, above the others
    lines.series.push_back(loss_line(study, grid, scale, policies[i]));
  if (plot::Series ring = rings(study, scale); !ring.x.empty()) lines.series.push_back(std::move(ring));
  panel.marks.emplace_back(std::move(lines));
  for (size_t b = 0; b < grid.budgets().size(); ++b)
    if (const PolicyOutcome* best = best_at(grid, grid.budgets()[b]))
      panel.marks.emplace_back(plot::Note{memory_percent(*best), scale.shown(loss_percent(study, *best)),
                                          fmt::format("{}: {} {}", grid.budget_labels()[b], best->policy,
                                                      percent_label(loss_percent(study, *best))),
                                          true});
  plot::Figure figure;
  figure.title = "Which policy should be shipped at this memory?";
  figure.caption = answer(study, grid);
  figure.height = 1000;
  figure.panels = {std::move(panel)};
  return figure;
}

plot::Figure perplexity_figure(const SimulationStudy& study, const PolicyGrid& grid) {
  plot::Panel panel;
  panel.title = "Perplexity against budget";
  panel.note = "Bars: standard error of the increase." + dashed_note(grid);
  panel.x = {.label = "budget: keys held in every set, mean over the texts [tokens]",
             .scale = plot::Scale::log10};
  panel.y = {.label = "perplexity (lower is better)", .scale = plot::Scale::log10};
  double ceiling = std::numeric_limits<double>::infinity(), most = 0;
  if (std::isfinite(study.full_ppl)) {
    constexpr double broken = 10;  // times the full cache's: a policy that loses more has broken the model
    const double digit = std::pow(10.0, std::floor(std::log10(broken * study.full_ppl)));
    ceiling = std::ceil(broken * study.full_ppl / digit) * digit;
  }
  plot::Lines lines;
  const std::vector<std::string>& policies = grid.policies();
  for (size_t i = policies.size(); i-- > 0;) {
    plot::Series line = policy_line(grid, policies[i]);
    line.end_label = policies[i];
    for (const std::string& budget : grid.budgets())
      if (const PolicyOutcome* outcome = grid.at(policies[i], budget)) {
        const bool inside = outcome->ppl < ceiling;
        most = std::isnan(outcome->ppl) ? most : std::max(most, outcome->ppl);
        line.x.push_back(outcome->budget_tokens);
        line.y.push_back(std::isnan(outcome->ppl) ? kNone : std::min(outcome->ppl, ceiling));
        line.errors.push_back(inside ? outcome->delta_ppl_se : 0);
        line.errors_above.push_back(inside ? std::min(outcome->delta_ppl_se, ceiling - outcome->ppl) : 0);
      }
    lines.series.push_back(std::move(line));
  }
  if (most > ceiling) {
    panel.y.ceiling = ceiling;
    panel.y.max = 1.15 * ceiling;
    panel.note += " At the top: all that are worse.";
  }
  panel.marks.emplace_back(std::move(lines));
  if (std::isfinite(study.full_ppl))
    panel.marks.emplace_back(plot::Reference{plot::Reference::Direction::horizontal, study.full_ppl,
                                             fmt::format("full cache, {:.4g}", study.full_ppl),
                                             plot::colours::text});
  plot::Figure figure;
  figure.title = "What a smaller cache costs";
  figure.height = 900;
  figure.panels = {std::move(panel)};
  return figure;
}

}  // namespace kvviz::figures
