// SPDX-License-Identifier: MIT
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kvviz/figures/loss_scale.hpp"
#include "kvviz/figures/simulate_figures.hpp"
#include "kvviz/plot/prepare.hpp"

namespace kvviz::figures {

// What the files of the simulation's figures share.

/// The outcomes of a study as policy x budget. Borrows the study.
class PolicyGrid {
 public:
  /// Without `full`, unless there is nothing else.
  explicit PolicyGrid(const analysis::SimulationStudy& study);

  /// Those that can be shipped from the least mean loss to the greatest, then the clairvoyant ones.
  const std::vector<std::string>& policies() const { return policies_; }
  /// As labels of an axis: clairvoyant ones with a star, those that keep what they evict with
  /// a dagger.
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<std::string>& budgets() const { return budgets_; }       ///< rising, as asked for
  const std::vector<std::string>& budget_labels() const { return labels_; }  ///< "25 %", "256 tokens"

  const std::string& name(const std::string& policy) const;  ///< of names(); as it is where unknown

  /// What the marks of names() stand for, as sentences to append; empty where no policy has one.
  std::string explained() const;

  /// Null: not simulated.
  const analysis::PolicyOutcome* at(const std::string& policy, const std::string& budget) const;
  const analysis::PolicyOutcome& first(const std::string& policy) const;  ///< at its smallest budget
  /// The outcome that keeps everything; null: not simulated.
  const analysis::PolicyOutcome* full() const { return full_; }
  /// The place of a policy in policies(); at the end: unknown.
  size_t rank(const std::string& policy) const;
  /// Its number among the looks of lines: policies on the frontier have the first ones, which differ most.
  size_t look(const std::string& policy) const;

 private:
  enum Mark : int { future = 1, memory = 2 };
  int marks_ = 0;
  std::vector<std::string> policies_, names_, looks_, budgets_, labels_;
  std::map<std::pair<std::string, std::string>, const analysis::PolicyOutcome*> cells_;
  const analysis::PolicyOutcome* full_ = nullptr;
};

/// "25 %" or "256 tokens".
std::string budget_label(const std::string& budget, double tokens);

/// The look of a policy's line: 18 policies differ in colour or in marker. Clairvoyant ones are
/// grey and dashed.
plot::Series policy_line(const PolicyGrid& grid, const std::string& policy);

/// Colours of budgets, light to dark.
plot::Colour budget_colour(size_t budget, size_t budgets);

/// Increase of perplexity over the full cache, and its standard error, in percent.
double loss_percent(const analysis::SimulationStudy& study, const analysis::PolicyOutcome& outcome);
double loss_error(const analysis::SimulationStudy& study, const analysis::PolicyOutcome& outcome);
Loss loss_of(const analysis::SimulationStudy& study, const analysis::PolicyOutcome& outcome);  ///< both
/// For the losses of all outcomes.
LossScale loss_scale(const analysis::SimulationStudy& study);
/// The share of the full cache's bytes that has to stand in memory, in percent.
double memory_percent(const analysis::PolicyOutcome& outcome);

/// `what`, texts, tokens, positions, prefill and the full cache's perplexity.
std::string study_subtitle(const analysis::SimulationStudy& study, const std::string& what);

/// What stands beside the axes of a row of heat maps of which only the first has row names and only the last
/// a colour bar.
struct RowOfMaps {
  std::vector<std::string> names;
  bool y_label = false;
};
/// Widths of the columns that make the maps equally wide.
std::vector<double> even_columns(const plot::Figure& figure, const RowOfMaps& row);
/// Whether panel i of n stands at the right edge, or in the only row.
bool at_right_edge(size_t i, size_t n, int columns);

/// "name", "name_2", ... below simulate/.
std::string numbered(const std::string& name, size_t index);

plot::Figure frontier_figure(const analysis::SimulationStudy& study, const PolicyGrid& grid);
plot::Figure perplexity_figure(const analysis::SimulationStudy& study, const PolicyGrid& grid);
plot::Figure policies_figure(const analysis::SimulationStudy& study, const PolicyGrid& grid);
/// Policy x layer, a panel a budget. The study has heads.
plot::Figure recall_figure(const analysis::SimulationStudy& study, const PolicyGrid& grid);
plot::Figure output_error_figure(const analysis::SimulationStudy& study, const PolicyGrid& grid);
/// No panels: no policy gives its sets unequal budgets.
plot::Figure unequal_budgets_figure(const analysis::SimulationStudy& study, const PolicyGrid& grid);
std::vector<plot::Figure> retention_figures(const analysis::SimulationStudy& study, const PolicyGrid& grid);
std::vector<plot::Figure> token_strip_figures(const analysis::SimulationStudy& study, const PolicyGrid& grid);

}  // namespace kvviz::figures
