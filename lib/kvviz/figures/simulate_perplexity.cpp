// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvviz/figures/simulate_parts.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

/// Part of the perplexity axis. What is worse stands at the ceiling.
struct Part {
  std::string title;
  double ceiling;
  double labels_from, labels_to;  ///< policies whose last perplexity lies here are named
  bool only_inside;               ///< leave out policies that are worse than the ceiling at every budget
};

/// Rounded up to two digits.
double round_up(double value) {
  const double digit = std::pow(10.0, std::floor(std::log10(value)) - 1);
  return std::ceil(value / digit - 1e-9) * digit;
}

/// Perplexities of all policies at their smallest budgets, rising: those at the others are hardly greater.
std::vector<double> first_perplexities(const PolicyGrid& grid) {
  std::vector<double> values;
  for (const std::string& policy : grid.policies())
    if (const double ppl = grid.first(policy).ppl; std::isfinite(ppl)) values.push_back(ppl);
  std::ranges::sort(values);
  return values;
}

/// One part where all policies can be told apart in it, else everything and beside it what is close to the
/// full cache.
std::vector<Part> parts_of(const SimulationStudy& study, const PolicyGrid& grid) {
  constexpr double broken = 10;  // times the full cache's: a policy that loses more has broken the model
  constexpr double room = 1.1, wide = 1.5;
  constexpr double none = std::numeric_limits<double>::infinity();
  const std::vector<double> values = first_perplexities(grid);
  const double most = std::isfinite(study.full_ppl) ? round_up(broken * study.full_ppl) : none;
  const double near = values.empty() ? none : round_up(room * values[values.size() / 2]);
  if (values.empty() || values.back() <= wide * near || near >= most)
    return {{"Perplexity against budget", most, 0, none, false}};
  return {{"All policies", most, near, none, false}, {"Close to the full cache", near, 0, near, true}};
}

/// Nothing: the policy does not belong here.
plot::Series line_of(const PolicyGrid& grid, const std::string& policy, const Part& part) {
  plot::Series line = policy_line(grid, policy);
  double last = kNone;
  bool inside = false;
  for (const std::string& budget : grid.budgets()) {
    const PolicyOutcome* outcome = grid.at(policy, budget);
    if (outcome == nullptr) continue;
    const double ppl = outcome->ppl, error = outcome->delta_ppl_se;
    const bool shown = ppl < part.ceiling;
    inside = inside || shown;
    last = std::isnan(ppl) ? last : ppl;
    line.x.push_back(outcome->budget_tokens);
    line.y.push_back(std::isnan(ppl) ? kNone : std::min(ppl, part.ceiling));
    line.errors.push_back(shown ? error : 0);
    line.errors_above.push_back(shown ? std::min(error, part.ceiling - ppl) : 0);
  }
  if (last >= part.labels_from && last <= part.labels_to) line.end_label = grid.name(policy);
  return inside || !part.only_inside ? line : plot::Series{};
}

plot::Panel panel_of(const SimulationStudy& study, const PolicyGrid& grid, const Part& part) {
  plot::Panel panel;
  panel.title = part.title;
  panel.x = {.label = "budget: keys held in every set, mean over the texts [tokens]",
             .scale = plot::Scale::log10};
  panel.y = {.label = "perplexity (lower is better)", .scale = plot::Scale::log10};
  plot::Lines lines;
  const std::vector<std::string>& policies = grid.policies();
  for (size_t i = policies.size(); i-- > 0;)
    if (plot::Series line = line_of(grid, policies[i], part); !line.x.empty())
      lines.series.push_back(std::move(line));
  const bool capped = std::ranges::any_of(lines.series, [&](const plot::Series& line) {
    return std::ranges::find(line.y, part.ceiling) != line.y.end();
  });
  if (capped) {
    panel.y.ceiling = part.ceiling;
    panel.y.max = part.ceiling * std::pow(part.ceiling / study.full_ppl, 0.06);
    panel.note = "At the top: all that are worse.";
  }
  if (part.labels_from > 0) panel.note += " Other names: right.";
  panel.marks.emplace_back(std::move(lines));
  if (std::isfinite(study.full_ppl))
    panel.marks.emplace_back(plot::Reference{plot::Reference::Direction::horizontal, study.full_ppl,
                                             fmt::format("full cache, {:.4g}", study.full_ppl),
                                             plot::colours::text});
  return panel;
}

}  // namespace

plot::Figure perplexity_figure(const SimulationStudy& study, const PolicyGrid& grid) {
  plot::Figure figure;
  figure.title = "What a smaller cache costs";
  for (const Part& part : parts_of(study, grid)) figure.panels.push_back(panel_of(study, grid, part));
  figure.columns = static_cast<int>(figure.panels.size());
  if (figure.columns > 1) figure.column_weights = {0.8, 1.2};
  figure.height = 900;
  figure.caption = "Whiskers: standard error of the increase over the full cache." + grid.explained();
  return figure;
}

}  // namespace kvviz::figures
