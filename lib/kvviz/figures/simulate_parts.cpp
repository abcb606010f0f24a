// SPDX-License-Identifier: MIT
#include "kvviz/figures/simulate_parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "kvviz/plot/text.hpp"

namespace kvviz::figures {

using namespace analysis;

namespace {

constexpr const char* full_name = "full";

}  // namespace

PolicyGrid::PolicyGrid(const SimulationStudy& study) {
  const bool only_full = std::ranges::all_of(
      study.outcomes, [](const PolicyOutcome& outcome) { return outcome.policy == full_name; });
  std::vector<std::pair<double, std::string>> budgets;
  for (const PolicyOutcome& outcome : study.outcomes) {
    if (outcome.policy == full_name) full_ = &outcome;
    if (outcome.policy == full_name && !only_full) continue;
    cells_.try_emplace({outcome.policy, outcome.budget}, &outcome);
    if (std::ranges::find(budgets, outcome.budget, &std::pair<double, std::string>::second) == budgets.end())
      budgets.emplace_back(outcome.budget_tokens, outcome.budget);
  }
  std::ranges::stable_sort(budgets, {}, &std::pair<double, std::string>::first);
  for (const auto& [tokens, budget] : budgets)
    budgets_.push_back(budget), labels_.push_back(budget_label(budget, tokens));
  for (const std::string& policy : policies_by_loss(study.outcomes)) {
    const auto own = [&](const PolicyOutcome& outcome) { return outcome.policy == policy; };
    if (policy == full_name && !only_full) continue;
    policies_.push_back(policy);
    const bool reads_future = first(policy).clairvoyant;
    const bool keeps = std::ranges::any_of(
        study.outcomes, [&](const PolicyOutcome& outcome) { return own(outcome) && keeps_memory(outcome); });
    names_.push_back(policy + (reads_future ? " *" : "") + (keeps ? " †" : ""));
    if (reads_future) marks_ |= future;
    if (keeps) marks_ |= memory;
  }
  looks_ = policies_;
  std::stable_partition(looks_.begin(), looks_.end(), [&](const std::string& policy) {
    return std::ranges::any_of(study.outcomes, [&](const PolicyOutcome& outcome) {
      return outcome.policy == policy && outcome.on_frontier;
    });
  });
}

const PolicyOutcome* PolicyGrid::at(const std::string& policy, const std::string& budget) const {
  const auto found = cells_.find({policy, budget});
  return found == cells_.end() ? nullptr : found->second;
}

const PolicyOutcome& PolicyGrid::first(const std::string& policy) const {
  for (const std::string& budget : budgets_)
    if (const PolicyOutcome* outcome = at(policy, budget)) return *outcome;
  return *cells_.begin()->second;
}

std::string PolicyGrid::explained() const {
  std::string text;
  if (marks_ & future) text += " * reads the future: a yardstick, not to ship.";
  if (marks_ & memory) text += " † hides what it evicts and keeps it in memory: saves nothing.";
  return text;
}

const std::string& PolicyGrid::name(const std::string& policy) const {
  const size_t at = rank(policy);
  return at < names_.size() ? names_[at] : policy;
}

size_t PolicyGrid::look(const std::string& policy) const {
  return static_cast<size_t>(std::ranges::find(looks_, policy) - looks_.begin());
}

size_t PolicyGrid::rank(const std::string& policy) const {
  return static_cast<size_t>(std::ranges::find(policies_, policy) - policies_.begin());
}

std::string budget_label(const std::string& budget, double tokens) {
  char* end = nullptr;
  const double value = std::strtod(budget.c_str(), &end);
  if (end == budget.c_str() || *end != '\0') return budget;
  if (value > 1 || (value == 1 && tokens < 1.5))
    return fmt::format("{:g} token{}", value, value == 1 ? "" : "s");
  return fmt::format("{:g} %", 100 * value);
}

plot::Series policy_line(const PolicyGrid& grid, const std::string& policy) {
  plot::Series series;
  set_look(series, grid.look(policy));
  if (grid.first(policy).clairvoyant) {
    series.colour = plot::colours::neutral;
    series.stroke = plot::Stroke::dashed;
  }
  return series;
}

plot::Colour budget_colour(size_t budget, size_t budgets) {
  // Blues from light to dark; a single budget takes the middle.
  constexpr double lightest = 0.32, darkest = 0.04;
  const double place = budgets < 2 ? 0.5 : static_cast<double>(budget) / static_cast<double>(budgets - 1);
  return plot::colour_at(plot::ColourMap::diverging, lightest + place * (darkest - lightest));
}

double loss_percent(const SimulationStudy&, const PolicyOutcome& outcome) {
  return outcome.delta_ppl_percent();
}

double loss_error(const SimulationStudy&, const PolicyOutcome& outcome) {
  return outcome.delta_ppl_percent_se();
}

Loss loss_of(const SimulationStudy& study, const PolicyOutcome& outcome) {
  return {loss_percent(study, outcome), loss_error(study, outcome)};
}

LossScale loss_scale(const SimulationStudy& study) {
  std::vector<Loss> losses;
  for (const PolicyOutcome& outcome : study.outcomes) losses.push_back(loss_of(study, outcome));
  return LossScale(losses);
}

double memory_percent(const PolicyOutcome& outcome) {
  return outcome.full_bytes > 0 ? 100 * outcome.resident_bytes / outcome.full_bytes : kNone;
}

std::string study_subtitle(const SimulationStudy& study, const std::string& what) {
  std::string text = over_texts(what, study.texts) + fmt::format("{} tokens", study.tokens);
  if (!study.prefill.empty()) text += "; prefill " + study.prefill;
  if (!study.positions.empty()) text += "; positions " + study.positions;
  if (study.score_from > 0) text += fmt::format("; predictions from {} on count", study.score_from);
  if (std::isfinite(study.full_ppl)) text += fmt::format("; full cache: perplexity {:.4g}", study.full_ppl);
  return text;
}

std::vector<double> even_columns(const plot::Figure& figure, const RowOfMaps& row) {
  // What plot::lay_out takes for names, labels, bars and gaps; a few pixels more or less do no harm.
  const plot::Theme theme;
  constexpr double edges = 28, gap = 26, tick = 12, bar = 92, plain = 12, longest_name = 12;
  const double label = row.y_label ? 1.3 * theme.label_size + 8 : 0;
  double names = 0;
  for (const std::string& name : row.names)
    names =
        std::max(names, std::min(plot::text_width(name, theme.tick_size), longest_name * theme.tick_size));
  const int n = std::max(figure.columns, 1);
  const double all = figure.width - edges - gap * (n - 1);
  const double maps = (all - names - bar - n * (tick + label) - plain * (n - 1)) / n;
  std::vector<double> widths(static_cast<size_t>(n), maps + tick + label + plain);
  widths.front() += names;
  widths.back() += bar - plain;
  return widths;
}

bool at_right_edge(size_t i, size_t n, int columns) {
  const auto across = static_cast<size_t>(std::max(columns, 1));
  return (i + 1) % across == 0 || (n < across && i + 1 == n);
}

std::string numbered(const std::string& name, size_t index) {
  return "simulate/" + name + (index > 0 ? fmt::format("_{}", index + 1) : "");
}

}  // namespace kvviz::figures
