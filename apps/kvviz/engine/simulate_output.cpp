// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_output.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tables/simulate_tables.hpp"

namespace kvviz {
namespace {

std::vector<std::string> budgets_of(const analysis::SimulationStudy& study) {
  std::vector<std::string> budgets;
  for (const auto& o : study.outcomes)
    if (o.policy != "full" && std::ranges::count(budgets, o.budget) == 0) budgets.push_back(o.budget);
  return budgets;
}

/// The policy to ship at each budget, in words: the one that changes the perplexity least without knowing the
/// future and saves memory.
std::vector<Fact> best_facts(const analysis::SimulationStudy& study) {
  std::vector<Fact> facts;
  for (const std::string& budget : budgets_of(study)) {
    const analysis::PolicyOutcome* best = analysis::best_at(study.outcomes, budget);
    if (best == nullptr) continue;
    const std::string key = "best_at_" + tables::budget_name(budget);
    facts.push_back({key, best->policy, "", cat("Changes least at budget ", budget)});
    facts.push_back({key + "_delta_ppl_percent", tables::real(best->delta_ppl_percent()), "%",
                     "  its increase of the perplexity"});
    facts.push_back({key + "_delta_ppl_percent_se",
                     tables::real(best->delta_ppl_percent_se(), "a single block"), "%",
                     "  the standard error of that"});
  }
  return facts;
}

}  // namespace

std::vector<Fact> simulate_facts(const analysis::SimulationStudy& s) {
  using tables::integer;
  using tables::real;
  std::vector<Fact> facts{
      {"texts", integer(s.texts), "", "Texts"},
      {"tokens", integer(s.tokens), "tokens", "Tokens of all texts"},
      {"predictions", integer(s.outcomes.front().predictions), "", "Predictions that count"},
      {"score_from", integer(s.score_from), "", "First prediction that counts (of the first text)"},
      {"positions", s.positions, "", "Positions of held keys"},
      {"prefill", s.prefill, "", "Prefill"},
      {"full_ppl", real(s.full_ppl), "", "Perplexity with the full cache"},
      {"full_nll", real(s.full_nll), "nats", "Negative log-likelihood with the full cache"},
      {"full_bytes", real(s.outcomes.front().full_bytes), "bytes", "Full cache in f32, mean over the texts"}};
  std::ranges::move(best_facts(s), std::back_inserter(facts));
  return facts;
}

}  // namespace kvviz
