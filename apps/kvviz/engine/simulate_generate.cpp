// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_generate.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/engine/simulate_run.hpp"
#include "kvviz/eval/evicting_session.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz {
namespace {

using Ids = std::vector<int32_t>;

/// Ends before `most` tokens behind an end-of-text token.
Ids generate(const Runner& runner, const Simulation& simulation, SimulationOptions settings,
             const Ids& prompt, int64_t most) {
  EvictingSession session(runner.model.decoder, simulation, std::move(settings), std::ssize(prompt) + most);
  at::Tensor hidden = session.extend(prompt);
  Ids made;
  while (std::ssize(made) < most) {
    made.push_back(next_token(runner.model.decoder, hidden));
    if (runner.tokenizer->eos() == made.back() || std::ssize(made) == most) break;
    hidden = session.extend(std::span(&made.back(), 1));
  }
  return made;
}

struct Row {
  std::string policy, budget;
  int64_t tokens = 0, equal = 0;
  std::string text;
};

}  // namespace

Table generated_table(const Runner& runner, const TextInput& text, std::span<const Simulation> simulations,
                      const SimulateOptions& o) {
  const ModelConfig& config = runner.model.decoder.config();
  const auto length = std::min(std::ssize(text.tokens.ids), config.context - o.generate);
  const Ids prompt(text.tokens.ids.begin(), text.tokens.ids.begin() + length);
  SimulationOptions settings = settings_of(o, config);
  settings.prompt = o.prefill == "full" ? length : 0;

  std::vector<Simulation> all{{policy::find_policy("full"), policy::parse_budget("1.0")}};
  std::ranges::copy_if(simulations, std::back_inserter(all), [](const Simulation& s) {
    return s.policy.name != "full" && !s.policy.info.clairvoyant;
  });
  std::vector<Row> rows;
  Ids full;
  Progress progress("generating", std::ssize(all), o.call.quiet);
  for (const Simulation& simulation : all) {
    const Ids made = generate(runner, simulation, settings, prompt, o.generate);
    if (rows.empty()) full = made;
    rows.push_back({.policy = simulation.policy.name,
                    .budget = simulation.budget.text,
                    .tokens = std::ssize(made),
                    .equal = std::ranges::mismatch(made, full).in1 - made.begin(),
                    .text = runner.tokenizer->decode(made)});
    progress.update(std::ssize(rows));
  }
  using tables::Field;
  const std::vector<Field<Row>> fields{
      {{"policy", "", ColumnType::text}, [](const Row& r) { return Cell(r.policy); }},
      {{"budget", "", ColumnType::text}, [](const Row& r) { return Cell(r.budget); }},
      {{"generated", "tokens", ColumnType::integer}, [](const Row& r) { return Cell(r.tokens); }},
      {{"equal", "tokens", ColumnType::integer}, [](const Row& r) { return Cell(r.equal); }},
      {{"text", "", ColumnType::text}, [](const Row& r) { return Cell(r.text); }}};
  return tables::make_table("generated", {"policy", "budget"}, fields, rows);
}

}  // namespace kvviz
