// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_generate.hpp"

#include <algorithm>

#include "kvviz/core/progress.hpp"
#include "kvviz/engine/generation_run.hpp"
#include "kvviz/engine/simulate_run.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz {
namespace {

GeneratedText text_of(const analysis::EvictedText& made) {
  return {.policy = made.policy,
          .budget = made.budget,
          .text = made.text,
          .tokens = std::ssize(made.pieces),
          .equal = made.equal};
}

}  // namespace

std::vector<GeneratedText> generate_texts(const Runner& runner, const TextInput& text,
                                          std::span<const Simulation> simulations, const SimulateOptions& o) {
  const ModelConfig& config = runner.model.decoder.config();
  const auto length = std::min(std::ssize(text.tokens.ids), config.context - o.generate);
  const auto prompt = std::span(text.tokens.ids).first(static_cast<size_t>(length));
  SimulationOptions settings = settings_of(o, config);
  settings.prompt = o.prefill == "full" ? length : 0;

  const GenerationRequest request{
      .prompt = prompt, .tokens = o.generate, .sampling = {}, .legacy = {}, .quiet = o.call.quiet};
  const GenerationRun full = generate_in_full(runner, request);
  std::vector<GeneratedText> texts{text_of(analysis::full_text(full.study))};
  Progress progress("generating under policies", std::ssize(simulations), o.call.quiet);
  int64_t done = 0;
  for (const Simulation& simulation : simulations) {
    progress.update(++done);
    if (simulation.policy.name == "full" || simulation.policy.info.clairvoyant) continue;
    texts.push_back(text_of(generate_evicting(runner, request, simulation, settings, full)));
  }
  return texts;
}

Table generated_table(std::span<const GeneratedText> texts) {
  using tables::Field;
  using Row = GeneratedText;
  const std::vector<Field<Row>> fields{
      {{"policy", "", ColumnType::text}, [](const Row& r) { return Cell(r.policy); }},
      {{"budget", "", ColumnType::text}, [](const Row& r) { return Cell(r.budget); }},
      {{"generated", "tokens", ColumnType::integer}, [](const Row& r) { return Cell(r.tokens); }},
      {{"equal", "tokens", ColumnType::integer}, [](const Row& r) { return Cell(r.equal); }},
      {{"text", "", ColumnType::text}, [](const Row& r) { return Cell(r.text); }}};
  return tables::make_table("generated", {"policy", "budget"}, fields, texts);
}

}  // namespace kvviz
