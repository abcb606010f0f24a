// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/generation_run.hpp"
#include "kvviz/engine/simulate_run.hpp"
#include "kvviz/figures/generation_figures.hpp"
#include "kvviz/io/result_file.hpp"
#include "kvviz/tables/generation_tables.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

/// The eviction part of the options, in the form that simulate reads.
SimulateOptions simulate_options(const GenerationOptions& o) {
  SimulateOptions simulate;
  simulate.policies = o.policies;
  simulate.budgets = o.budgets.empty() ? std::vector<std::string>{"0.25"} : o.budgets;
  simulate.positions = o.positions;
  simulate.prefill = o.prefill;
  simulate.eviction = o.eviction;
  simulate.texts.seed = o.seed;
  return simulate;
}

std::vector<Simulation> policies_of(const GenerationOptions& o, const ModelConfig& config) {
  for (const std::string& name : o.policies) {
    require<UsageError>(name != "full", "--policy full: the full cache is always there; name another policy");
    require<UsageError>(name == "all" || !policy::find_policy(name).info.clairvoyant, "--policy ", name,
                        " reads the future, and generated text has none yet");
  }
  auto all = simulations_of(simulate_options(o), config);
  std::erase_if(all,
                [](const Simulation& s) { return s.policy.name == "full" || s.policy.info.clairvoyant; });
  return all;
}

/// Articles are cut so that the generated tokens have room; a text of the user's own has to fit.
TextInput prompt_of(const GenerationOptions& o, const OpenedFolder& opened) {
  const int64_t context = opened.config.context;
  require<UsageError>(o.generate < context, "--generate ", o.generate,
                      " leaves no room for a prompt in the model's context of ", context, " tokens");
  ModelConfig config = opened.config;
  const TextOptions& t = o.text;
  if (t.prompt.empty() && t.prompt_file.empty() && t.tokens.empty() && t.seq_len == 0)
    config.context -= o.generate;
  TextInput text = read_text(t, *opened.tokenizer, config, o.call.data);
  const auto tokens = std::ssize(text.tokens.ids);
  require<UsageError>(tokens + o.generate <= context, "a prompt of ", tokens, " tokens and --generate ",
                      o.generate, " exceed the model's context of ", context, " by ",
                      tokens + o.generate - context, "; lower --generate or --seq-len");
  return text;
}

nlohmann::ordered_json effective_options(const GenerationOptions& o) {
  nlohmann::ordered_json effective;
  add_options(effective, o.text);
  effective.update({{"generate", o.generate},
                    {"stages", o.stages.fractions},
                    {"temperature", o.temperature},
                    {"top-k", o.top_k},
                    {"top-p", o.top_p},
                    {"seed", o.seed},
                    {"ignore-eos", o.ignore_eos},
                    {"policy", o.policies},
                    {"budget", o.budgets}});
  analysis::LegacyOptions::fields(
      o.legacy, [&](const auto& value, const char* name, const char*) { effective[name] = value; });
  if (!o.policies.empty()) {
    effective["positions"] = o.positions;
    add_options(effective, o.eviction);
  }
  return effective;
}

void remove_timings(analysis::GenerationStudy& study) {
  study.prefill_seconds = analysis::kNone;
  for (auto& step : study.steps) step.seconds = analysis::kNone;
  for (auto& text : study.evicted) text.seconds = analysis::kNone;
}

/// [step, layer, query head, part]; NaN where a layer has fewer heads.
void write_arrays(const std::filesystem::path& file, const analysis::GenerationStudy& study) {
  int64_t heads = 0;
  for (const auto& layer : study.steps.front().attention) heads = std::max(heads, std::ssize(layer));
  std::vector<float> shares;
  for (const auto& step : study.steps)
    for (const auto& layer : step.attention)
      for (size_t h = 0; h < static_cast<size_t>(heads); ++h) {
        const bool there = h < layer.size();
        for (const double x :
             {there ? layer[h].first : analysis::kNone, there ? layer[h].prompt : analysis::kNone,
              there ? layer[h].generated : analysis::kNone, there ? layer[h].self : analysis::kNone})
          shares.push_back(static_cast<float>(x));
      }
  const int64_t shape[] = {std::ssize(study.steps), std::ssize(study.steps.front().attention), heads, 4};
  io::ArrayFileWriter writer(file, "analyze_generation");
  writer.add({"generation/attention",
              {"step", "layer", "query_head", "part"},
              "",
              "parts: first token, rest of the prompt, generated tokens, the query's own token"},
             shape, shares);
  writer.commit();
}

int run(const GenerationOptions& o) {
  Delivery delivery{.gates = check_output(o.output)};
  const SamplingOptions sampling{o.temperature, o.top_k, o.top_p, o.seed};
  validate(sampling);
  analysis::validate(o.stages);
  analysis::validate(o.legacy);
  set_threads(o.call.threads);
  OpenedFolder opened = open_folder(o.model, o.call);
  const auto simulations = policies_of(o, opened.config);
  SimulationOptions settings = settings_of(simulate_options(o), opened.config);
  const TextInput text = prompt_of(o, opened);
  for (const Simulation& s : simulations)  // now, not after the full cache's text
    policy::split(s.policy, policy::resolve(s.budget, std::ssize(text.tokens.ids) + o.generate),
                  settings.policy);
  const Runner runner = load_runner(std::move(opened), std::ssize(text.tokens.ids) + o.generate);

  const GenerationRequest request{.prompt = text.tokens.ids,
                                  .tokens = o.generate,
                                  .sampling = sampling,
                                  .ignore_eos = o.ignore_eos,
                                  .stages = o.stages,
                                  .legacy = o.legacy,
                                  .quiet = o.call.quiet};
  GenerationRun generated = generate_in_full(runner, request);
  analysis::GenerationStudy& study = generated.study;
  if (o.prefill == "full") settings.prompt = std::ssize(text.tokens.ids);
  Progress progress("generating under policies", std::ssize(simulations), o.call.quiet);
  for (const Simulation& simulation : simulations) {
    study.evicted.push_back(generate_evicting(runner, request, simulation, settings, generated));
    progress.update(std::ssize(study.evicted));
  }
  if (o.no_timings) remove_timings(study);

  const SubjectOrigin origin = origin_of(runner, text);
  Result result{.command = "analyze_generation",
                .provenance = provenance_of(origin, o.call, effective_options(o))};
  result.summary = tables::generation_facts(study);
  result.tables = {tables::generation_table(study.cache), tables::generation_steps_table(study),
                   tables::generation_layers_table(study), tables::generation_heads_table(study)};
  if (!study.evicted.empty()) {
    result.tables.push_back(tables::generated_table(study));
    result.tables.push_back(tables::generated_steps_table(study));
  }
  if (!o.output.no_plots) delivery.figures = figures::generation_figures(study);
  delivery.subtitle = cat(short_name(origin.model), ", ", origin.text, ", ", study.cache.prompt,
                          " tokens and ", study.steps.size(), " generated");
  delivery.heading = cat(origin.model, ", ", origin.text);
  delivery.shown_tables = {"generation", "generated"};
  if (!study.steps.empty()) delivery.write_arrays = [&](const auto& file) { write_arrays(file, study); };
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_analyze_generation(const kvviz::GenerationOptions& options) {
  return kvviz::guarded([&] { return kvviz::run(options); });
}
