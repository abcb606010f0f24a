// SPDX-License-Identifier: MIT
#include <algorithm>
#include <optional>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/engine/batch_output.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/generation_run.hpp"
#include "kvviz/engine/policy_options.hpp"
#include "kvviz/engine/simulate_run.hpp"
#include "kvviz/figures/generation_figures.hpp"
#include "kvviz/io/result_file.hpp"
#include "kvviz/tables/generation_tables.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

constexpr const char* command = "analyze_generation";

SamplingOptions sampling_of(const GenerationOptions& o) {
  return {o.temperature, o.top_k, o.top_p, o.texts.seed};
}

/// The eviction part of the options, in the form that simulate reads.
SimulateOptions simulate_options(const GenerationOptions& o) {
  SimulateOptions simulate;
  simulate.policies = o.policies;
  simulate.budgets = o.budgets.empty() ? std::vector<std::string>{"0.25"} : o.budgets;
  simulate.positions = o.positions;
  simulate.prefill = o.prefill;
  simulate.eviction = o.eviction;
  simulate.texts.seed = o.texts.seed;
  return simulate;
}

std::vector<Simulation> policies_of(const GenerationOptions& o, const ModelConfig& config) {
  for (const std::string& name : o.policies) {
    require<UsageError>(name != "full", "--policy full: the full cache is always there; name another policy");
    require<UsageError>(name == "all" || !policy::find_policy(name).info.clairvoyant, "--policy ", name,
                        " reads the future, and generated text has none yet");
  }
  auto all = simulations_of(simulate_options(o), config);
  if (!o.policies.empty()) check_policy_options(policies_named(o.policies), o.call);
  std::erase_if(all,
                [](const Simulation& s) { return s.policy.name == "full" || s.policy.info.clairvoyant; });
  return all;
}

/// Articles are cut so that the generated tokens have room; other texts have to fit.
TextsOptions texts_with_room(const GenerationOptions& o) {
  TextsOptions texts = o.texts;
  const TextOptions& t = texts.text;
  if (t.prompt.empty() && t.prompt_file.empty() && t.tokens.empty()) texts.text.room = o.generate;
  return texts;
}

/// Of one text the command line is at fault, of several the text.
void refuse(const std::string& why, const GenerationOptions& o) {
  if (names_one_text(o.texts)) throw UsageError(why);
  throw DataError(why);
}

nlohmann::ordered_json effective_options(const GenerationOptions& o) {
  nlohmann::ordered_json effective;
  add_text_options(effective, o.texts);
  effective.update({{"generate", o.generate},
                    {"stages", o.stages.fractions},
                    {"temperature", o.temperature},
                    {"top-k", o.top_k},
                    {"top-p", o.top_p},
                    {"seed", o.texts.seed},
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

BatchLayout generation_layout() {
  using plot::colours::key;
  using plot::colours::value;
  BatchLayout layout;
  for (const char* share :
       {"attention_first", "attention_prompt", "attention_generated", "attention_self", "uniform_prompt"})
    layout.over.ranges.push_back({.fact = share});
  layout.over.tables = {{.name = "generation"},
                        {.name = "generation_layers"},
                        {.name = "generation_heads"},
                        {.name = "generated"}};
  layout.facts = {{"attention_first", "Attention on the first token", "share", 0, 1},
                  {"attention_prompt", "Attention on the rest of the prompt", "share", 0, 1},
                  {"attention_generated", "Attention on generated tokens", "share", 0, 1},
                  {"k_distance", "Distance of generated keys", "1: as the prompt's own", 0},
                  {"k_drift", "Drift of generated keys", "spreads of the prompt", 0},
                  {"v_drift", "Drift of generated values", "spreads of the prompt", 0}};
  const std::string layers = "generation_layers", heads = "generation_heads";
  layout.layers = {{"Distance from the prompt's mean",
                    "1: as the prompt's own",
                    {{{layers, "k_distance"}, "keys", key}, {{layers, "v_distance"}, "values", value}}},
                   {"Drift of their mean",
                    "spreads of the prompt",
                    {{{layers, "k_drift"}, "keys", key}, {{layers, "v_drift"}, "values", value}}},
                   {"Where generated tokens look",
                    "share of attention",
                    {{{layers, "attention_first"}, "first token", plot::colours::sink},
                     {{layers, "attention_prompt"}, "rest of the prompt", figures::prompt_colour},
                     {{layers, "attention_generated"}, "generated", figures::generated_colour},
                     {{layers, "attention_self"}, "itself", figures::self_colour}}}};
  layout.heads = {
      {{heads, "attention_first"}, "head", "Attention on the first token", "query head", "share", 0, 1},
      {{heads, "attention_generated"}, "head", "Attention on generated tokens", "query head", "share", 0, 1}};
  return layout;
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

/// What all texts are continued under.
struct EvictionPlan {
  std::vector<Simulation> simulations;
  SimulationOptions settings;
};

struct Limits {
  const EvictionPlan& plan;
  int64_t context = 0;
};

/// Whether prompt and generated tokens fit, and the budgets are enough for the policies.
void check_prompt(const batch::PlannedText& text, const GenerationOptions& o, const Limits& limits) {
  const int64_t all = text.tokens + o.generate;
  if (all > limits.context)
    refuse(cat("a prompt of ", text.tokens, " tokens and --generate ", o.generate,
               " exceed the model's context of ", limits.context, " by ", all - limits.context,
               "; lower --generate or --seq-len"),
           o);
  try {
    for (const Simulation& s : limits.plan.simulations)
      policy::split(s.policy, policy::resolve(s.budget, all), limits.plan.settings.policy);
  } catch (const UsageError& error) {
    refuse(error.what(), o);
  }
}

analysis::GenerationStudy study_of(const TextRun::Work& text, const GenerationOptions& o,
                                   const EvictionPlan& plan) {
  const GenerationRequest request{.prompt = text.text.tokens.ids,
                                  .tokens = o.generate,
                                  .sampling = sampling_of(o),
                                  .ignore_eos = o.ignore_eos,
                                  .stages = o.stages,
                                  .legacy = o.legacy,
                                  .quiet = text.quiet};
  GenerationRun generated = generate_in_full(text.runner, request);
  analysis::GenerationStudy& study = generated.study;
  SimulationOptions settings = plan.settings;
  if (o.prefill == "full") settings.prompt = std::ssize(text.text.tokens.ids);
  Progress progress("generating under policies", std::ssize(plan.simulations), text.quiet);
  for (const Simulation& simulation : plan.simulations) {
    study.evicted.push_back(generate_evicting(text.runner, request, simulation, settings, generated));
    progress.update(std::ssize(study.evicted));
  }
  if (o.no_timings) remove_timings(study);
  return std::move(study);
}

Result result_of(const analysis::GenerationStudy& study) {
  Result result{.command = command, .summary = tables::generation_facts(study), .tables = {}, .figures = {}};
  result.tables = {tables::generation_table(study.cache), tables::generation_steps_table(study),
                   tables::generation_layers_table(study), tables::generation_heads_table(study)};
  if (study.evicted.empty()) return result;
  result.tables.push_back(tables::generated_table(study));
  result.tables.push_back(tables::generated_steps_table(study));
  return result;
}

int deliver_one(const analysis::GenerationStudy& study, const TextRun& texts, const GenerationOptions& o,
                std::vector<Gate> gates) {
  const SubjectOrigin origin = texts.origin();
  Delivery delivery{.gates = std::move(gates)};
  Result result = result_of(study);
  result.provenance = provenance_of(origin, o.call, effective_options(o));
  if (!o.output.no_plots) delivery.figures = figures::generation_figures(study);
  delivery.subtitle = cat(short_name(origin.model), ", ", origin.text, ", ", study.cache.prompt,
                          " tokens and ", study.steps.size(), " generated");
  delivery.heading = cat(origin.model, ", ", origin.text);
  delivery.shown_tables = {"generation", "generated"};
  if (!study.steps.empty()) delivery.write_arrays = [&](const auto& file) { write_arrays(file, study); };
  return deliver(std::move(result), std::move(delivery), o.output);
}

/// The fact `text` has the name of the key of the table of texts.
nlohmann::json record_of(Result result, const BatchLayout& layout) {
  for (Fact& fact : result.summary)
    if (fact.key == "text") fact.key = "generated_text";
  return text_record(std::move(result), layout);
}

int run(const GenerationOptions& o) {
  std::vector<Gate> gates = check_output(o.output, draws(o.texts));
  validate(sampling_of(o));
  analysis::validate(o.stages);
  analysis::validate(o.legacy);
  set_threads(o.call.threads);
  const TextsOptions with_room = texts_with_room(o);
  TextRun texts(
      {.command = command, .call = o.call, .model = o.model, .texts = with_room, .out = o.output.out});
  const int64_t context = texts.config().context;
  require<UsageError>(o.generate < context, "--generate ", o.generate,
                      " leaves no room for a prompt in the model's context of ", context, " tokens");
  const EvictionPlan plan{policies_of(o, texts.config()), settings_of(simulate_options(o), texts.config())};
  const bool one_text = texts.plan_texts() == 1;
  if (one_text) check_prompt(texts.plan().texts.front(), o, {plan, context});
  const BatchLayout layout = generation_layout();
  std::optional<analysis::GenerationStudy> one;
  texts.measure({.doing = "generating", .more_tokens = o.generate, .alone = !o.no_timings},
                [&](const TextRun::Work& text) {
                  check_prompt(texts.plan().texts[static_cast<size_t>(text.index)], o, {plan, context});
                  analysis::GenerationStudy study = study_of(text, o, plan);
                  if (!one_text) return record_of(result_of(study), layout);
                  one = std::move(study);
                  return nlohmann::json();
                });
  if (one) return deliver_one(*one, texts, o, std::move(gates));
  if (texts.only_a_shard()) return 0;
  return deliver_over_texts(texts, layout,
                            {.command = command,
                             .call = o.call,
                             .output = o.output,
                             .gates = std::move(gates),
                             .options = effective_options(o),
                             .shown_tables = {"generation_over_texts", "generated_over_texts"}});
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_analyze_generation(const kvviz::GenerationOptions& options) {
  return kvviz::guarded([&] { return kvviz::run(options); });
}
