// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kvviz/figures/simulate_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

constexpr plot::Colour frontier_colour{0xffd54a};
constexpr const char* loss_label = "increase of perplexity over the full cache [%] (lower is better)";

/// A point of the frontier.
struct Step {
  const PolicyOutcome* outcome;
  bool sure;  ///< loses less than the last sure one by more than two standard errors; the first is sure
};

/// The losses are paired with the full cache and not with each other: this is cautious.
double two_errors(const PolicyOutcome& a, const PolicyOutcome& b) {
  return 2 * std::hypot(a.delta_nll_se, b.delta_nll_se);
}

/// From the least memory to the most.
std::vector<Step> frontier_of(const SimulationStudy& study) {
  std::vector<Step> steps;
  for (const PolicyOutcome& outcome : study.outcomes)
    if (outcome.on_frontier && std::isfinite(memory_percent(outcome))) steps.push_back({&outcome, true});
  std::ranges::stable_sort(steps, {}, [](const Step& step) { return memory_percent(*step.outcome); });
  const PolicyOutcome* last = nullptr;
  for (Step& step : steps) {
    if (last != nullptr)
      step.sure = !(last->delta_nll - step.outcome->delta_nll <= two_errors(*last, *step.outcome));
    if (step.sure) last = step.outcome;
  }
  return steps;
}

/// The least loss at a memory or less: steps from each point of the frontier to the next, up to the full
/// cache.
plot::Series frontier_steps(const SimulationStudy& study, const LossScale& scale) {
  plot::Series steps{.label = "frontier (ringed): the least loss at this memory or less"};
  steps.colour = frontier_colour;
  steps.marker = plot::Marker::none;
  steps.width = 4.5;
  for (const Step& step : frontier_of(study)) {
    const double x = memory_percent(*step.outcome);
    if (!steps.y.empty()) steps.x.push_back(x), steps.y.push_back(steps.y.back());
    steps.x.push_back(x), steps.y.push_back(scale.shown(loss_percent(study, *step.outcome)));
  }
  if (!steps.x.empty()) steps.x.push_back(std::max(100.0, steps.x.back())), steps.y.push_back(steps.y.back());
  return steps;
}

plot::Series rings(const SimulationStudy& study, const LossScale& scale, bool sure) {
  plot::Series ring;
  ring.stroke = plot::Stroke::points;
  ring.marker = plot::Marker::ring;
  ring.colour = sure ? plot::colours::text : plot::colours::neutral;
  for (const Step& step : frontier_of(study)) {
    if (step.sure != sure) continue;
    ring.x.push_back(memory_percent(*step.outcome));
    ring.y.push_back(scale.shown(loss_percent(study, *step.outcome)));
  }
  return ring;
}

bool crowded(const PolicyGrid& grid) {
  constexpr size_t few = 8;
  return grid.policies().size() > few;
}

/// The policy's line over memory. Bars reach down to the floor at most; among many policies only those on
/// the frontier have them.
plot::Series loss_line(const SimulationStudy& study, const PolicyGrid& grid, const LossScale& scale,
                       const std::string& policy) {
  plot::Series line = policy_line(grid, policy);
  line.end_label = grid.name(policy);
  for (const std::string& budget : grid.budgets()) {
    const PolicyOutcome* outcome = grid.at(policy, budget);
    if (outcome == nullptr) continue;
    const Loss loss = loss_of(study, *outcome);
    const plot::ErrorBar bar = scale.bar(loss);
    line.x.push_back(memory_percent(*outcome)), line.y.push_back(scale.shown(loss.percent));
    line.errors.push_back(bar.below), line.errors_above.push_back(bar.above);
    line.strong = line.strong || outcome->on_frontier;
  }
  line.width = line.strong ? 1.5 : 0.75;
  if (crowded(grid) && !line.strong) line.errors.clear(), line.errors_above.clear();
  return line;
}

std::string loss_words(const SimulationStudy& study, const PolicyOutcome& outcome) {
  const auto number = [](double percent) {
    const std::string label = percent_label(percent);
    return label.substr(0, label.rfind(" %"));
  };
  const double error = loss_error(study, outcome);
  return number(loss_percent(study, outcome)) +
         (std::isfinite(error) && error > 0 ? " ± " + number(error).substr(1) : "") + " %";
}

std::string setting(const PolicyOutcome& outcome) {
  return outcome.evictions == 0
             ? "the full cache"
             : outcome.policy + " at " + budget_label(outcome.budget, outcome.budget_tokens);
}

std::string bars_words(const SimulationStudy& study, const PolicyGrid& grid) {
  const bool tested = std::ranges::any_of(
      study.outcomes, [](const PolicyOutcome& outcome) { return outcome.delta_nll_se > 0; });
  if (!tested) return "Too few predictions for standard errors: no difference is tested.";
  return fmt::format(
      "Whiskers: standard error{}. Black rings: better than the cheaper ones by more than two standard "
      "errors.",
      crowded(grid) ? " (policies on the frontier)" : "");
}

/// As on the axis and in bytes: "10.2 %, 104 KiB".
std::string memory_label(const PolicyOutcome& outcome) {
  return fmt::format("{:.3g} %, {}", memory_percent(outcome), bytes_label(outcome.resident_bytes));
}

/// What to ship, of the points that are told apart: the answer to the figure's question.
std::string answer(const SimulationStudy& study) {
  std::string text;
  for (const Step& step : frontier_of(study))
    if (step.sure)
      text += fmt::format("{}{}: {}", text.empty() ? "From " : "; from ", memory_label(*step.outcome),
                          setting(*step.outcome));
  return text.empty() ? "Loss against memory" : text;
}

/// Settings with no more memory whose loss is not told apart from that of a point of the frontier.
std::string as_good(const PolicyGrid& grid, const PolicyOutcome& best) {
  constexpr double as_much = 1.01;  // pyramids round their budgets
  std::string names;
  for (const std::string& policy : grid.policies())
    for (const std::string& budget : grid.budgets()) {
      const PolicyOutcome* other = grid.at(policy, budget);
      if (other == nullptr || other == &best || other->clairvoyant || other->policy == best.policy) continue;
      if (other->resident_bytes > as_much * best.resident_bytes) continue;
      if (!(other->delta_nll - best.delta_nll <= two_errors(best, *other))) continue;
      if (names.ends_with(policy)) continue;
      names += (names.empty() ? "" : ", ") + policy;
    }
  return names;
}

/// The whole frontier in words, and what is as good.
std::string frontier_words(const SimulationStudy& study, const PolicyGrid& grid) {
  std::string text, alike;
  bool unsure = false;
  for (const Step& step : frontier_of(study)) {
    text +=
        fmt::format("{}{}{}: {} ({})", text.empty() ? "Frontier: " : "; ", step.sure ? "" : "~ ",
                    memory_label(*step.outcome), setting(*step.outcome), loss_words(study, *step.outcome));
    unsure = unsure || !step.sure;
    if (!step.sure) continue;
    if (const std::string names = as_good(grid, *step.outcome); !names.empty())
      alike += fmt::format(" Not told apart from {} with no more memory: {}.", setting(*step.outcome), names);
  }
  if (text.empty()) return text;
  return text + "." + (unsure ? " ~: less loss by no more than two standard errors." : "") + alike;
}

}  // namespace

plot::Figure frontier_figure(const SimulationStudy& study, const PolicyGrid& grid) {
  const LossScale scale = loss_scale(study);
  plot::Panel panel;
  panel.title = answer(study);
  const std::string full = study.outcomes.empty() ? "" : bytes_label(study.outcomes.front().full_bytes);
  panel.x = {.label = fmt::format("resident memory, % of the full cache ({})", full),
             .scale = plot::Scale::log10};
  panel.y = scale.axis(loss_label);
  panel.note = bars_words(study, grid) + scale.note();
  plot::Lines lines;
  if (plot::Series steps = frontier_steps(study, scale); !steps.x.empty())
    lines.series.push_back(std::move(steps));
  const std::vector<std::string>& policies = grid.policies();
  for (size_t i = policies.size(); i-- > 0;)  // the best last, above the others
    lines.series.push_back(loss_line(study, grid, scale, policies[i]));
  for (const bool sure : {false, true})
    if (plot::Series ring = rings(study, scale, sure); !ring.x.empty())
      lines.series.push_back(std::move(ring));
  panel.marks.emplace_back(std::move(lines));
  panel.marks.emplace_back(plot::Reference{plot::Reference::Direction::vertical, 100,
                                           "full cache, " + full + ": loses nothing", plot::colours::text});
  for (const Step& step : frontier_of(study))
    if (step.sure && step.outcome->evictions > 0)
      panel.marks.emplace_back(plot::Note{
          memory_percent(*step.outcome), scale.shown(loss_percent(study, *step.outcome)),
          fmt::format("{}: {}", setting(*step.outcome), percent_label(loss_percent(study, *step.outcome))),
          true});
  plot::Figure figure;
  figure.title = "Which policy should be shipped at this memory?";
  figure.caption = frontier_words(study, grid) + grid.explained();
  figure.height = 1000;
  figure.panels = {std::move(panel)};
  return figure;
}

}  // namespace kvviz::figures
