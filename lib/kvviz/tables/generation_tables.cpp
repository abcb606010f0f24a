// SPDX-License-Identifier: MIT
#include "kvviz/tables/generation_tables.hpp"

#include <cmath>

#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* no_token = "no generated token yet";
constexpr const char* no_drift = "no generated token, fewer than 3 tokens in the prompt, or all alike";
constexpr const char* no_timings = "--no-timings";

/// The four shares as columns.
template <class Row, class Get>
void add_shares(std::vector<Field<Row>>& fields, Get get) {
  const std::pair<const char*, double AttentionShares::*> parts[] = {
      {"attention_first", &AttentionShares::first},
      {"attention_prompt", &AttentionShares::prompt},
      {"attention_generated", &AttentionShares::generated},
      {"attention_self", &AttentionShares::self}};
  for (const auto& [name, part] : parts)  // part = part: clang 14 captures no structured binding by its name
    fields.push_back({{name}, [get, part = part](const Row& r) { return real(get(r).*part, no_token); }});
}

AttentionShares none() {
  return {kNone, kNone, kNone, kNone};
}

double per_second(double seconds) {
  return seconds > 0 ? 1 / seconds : kNone;
}

struct StepRow {
  int64_t step = 0, position = 0;
  const GenerationStep* of = nullptr;
  GeneratedToken token;
  AttentionShares attention;
};

struct LayerRow {
  GenerationLayer of;
  AttentionShares attention;
};

struct HeadRow {
  int64_t layer = 0, head = 0;
  AttentionShares attention;
};

Cell token_text(const std::string& piece) {
  if (piece.empty()) return Null{"the text ended there"};
  return piece;
}

}  // namespace

Table generation_table(const GenerationResult& cache) {
  using Row = GenerationStage;
  std::vector<Field<Row>> fields = {
      {word("stage"), [](const Row& r) { return Cell(r.name); }},
      {whole("tokens", "tokens"), [](const Row& r) { return integer(r.tokens); }},
      {whole("generated", "tokens"), [](const Row& r) { return integer(r.generated); }},
      {whole("bytes", "bytes"), [](const Row& r) { return integer(r.bytes); }}};
  const std::pair<std::string, StageHalf Row::*> halves[] = {{"k", &Row::key}, {"v", &Row::value}};
  const auto add = [&](const std::string& name, StageHalf Row::*half, auto get, const char* why) {
    fields.push_back({{name}, [=](const Row& r) { return real(get(r.*half), why); }});
  };
  for (const auto& [k, half] : halves) {
    add(
        k + "_distance", half, [](const StageHalf& h) { return h.drift.distance; }, no_drift);
    add(
        k + "_drift", half, [](const StageHalf& h) { return h.drift.drift; }, no_drift);
  }
  fields.push_back({{"drift_chance"}, [](const Row& r) { return real(r.chance, no_drift); }});
  for (const auto& [k, half] : halves) {
    add(
        k + "_rms_prompt", half, [](const StageHalf& h) { return h.prompt.rms; }, no_token);
    add(
        k + "_rms_new", half, [](const StageHalf& h) { return h.generated.rms; }, no_token);
  }
  const std::pair<std::string, double PartStats::*> measures[] = {
      {"hoyer", &PartStats::hoyer},
      {"gini", &PartStats::gini},
      {"participation_ratio", &PartStats::participation_ratio}};
  const auto add_sparsity = [&](const std::string& name, StageHalf Row::*half, double PartStats::*measure) {
    add(
        name, half, [measure](const StageHalf& h) { return h.all.*measure; }, no_token);
    add(
        name + "_new", half, [measure](const StageHalf& h) { return h.generated.*measure; }, no_token);
  };
  for (const auto& [name, measure] : measures)
    for (const auto& [k, half] : halves) add_sparsity(k + "_" + name, half, measure);
  for (const auto& [k, half] : halves)
    add_sparsity("legacy_" + k + "_sparsity", half, &PartStats::legacy_sparsity);
  return make_table("generation", {"stage"}, fields, cache.stages);
}

Table generation_steps_table(const GenerationStudy& study) {
  using Row = StepRow;
  std::vector<Row> rows;
  for (size_t i = 0; i < study.steps.size(); ++i) {
    const auto step = static_cast<int64_t>(i);
    rows.push_back({step + 1, study.cache.prompt + step, &study.steps[i], study.cache.tokens[i],
                    mean_shares(study.steps[i])});
  }
  std::vector<Field<Row>> fields = {
      {whole("step"), [](const Row& r) { return integer(r.step); }},
      {whole("token", "tokens"), [](const Row& r) { return integer(r.position); }},
      {whole("id"), [](const Row& r) { return integer(r.of->id); }},
      {word("text"), [](const Row& r) { return Cell(r.of->text); }},
      {{"probability"}, [](const Row& r) { return real(r.of->probability); }}};
  add_shares(fields, [](const Row& r) { return r.attention; });
  fields.insert(fields.end(),
                {{{"uniform_prompt"}, [](const Row& r) { return real(r.of->uniform.prompt); }},
                 {{"k_distance"}, [](const Row& r) { return real(r.token.k_distance, no_drift); }},
                 {{"v_distance"}, [](const Row& r) { return real(r.token.v_distance, no_drift); }},
                 {{"k_norm_relative"}, [](const Row& r) { return real(r.token.k_norm, no_drift); }},
                 {{"v_norm_relative"}, [](const Row& r) { return real(r.token.v_norm, no_drift); }},
                 {whole("bytes", "bytes"), [](const Row& r) { return integer(r.of->bytes); }},
                 {{"seconds", "s"}, [](const Row& r) { return real(r.of->seconds, no_timings); }},
                 {{"tokens_per_second", "tokens/s"},
                  [](const Row& r) { return real(per_second(r.of->seconds), no_timings); }}});
  return make_table("generation_steps", {"step"}, fields, rows);
}

Table generation_layers_table(const GenerationStudy& study) {
  using Row = LayerRow;
  std::vector<Row> rows;
  for (size_t l = 0; l < study.cache.layers.size(); ++l)
    rows.push_back({study.cache.layers[l], study.steps.empty() ? none() : mean_shares(study.steps, l)});
  std::vector<Field<Row>> fields = {
      {whole("layer"), [](const Row& r) { return integer(r.of.layer); }},
      {{"k_distance"}, [](const Row& r) { return real(r.of.key.distance, no_drift); }},
      {{"k_drift"}, [](const Row& r) { return real(r.of.key.drift, no_drift); }},
      {{"v_distance"}, [](const Row& r) { return real(r.of.value.distance, no_drift); }},
      {{"v_drift"}, [](const Row& r) { return real(r.of.value.drift, no_drift); }}};
  add_shares(fields, [](const Row& r) { return r.attention; });
  return make_table("generation_layers", {"layer"}, fields, rows);
}

Table generation_heads_table(const GenerationStudy& study) {
  using Row = HeadRow;
  std::vector<Row> rows;
  if (!study.steps.empty()) {
    const auto& layers = study.steps.front().attention;
    for (size_t l = 0; l < layers.size(); ++l)
      for (size_t h = 0; h < layers[l].size(); ++h)
        rows.push_back({static_cast<int64_t>(l), static_cast<int64_t>(h), mean_shares(study.steps, l, h)});
  }
  std::vector<Field<Row>> fields = {{whole("layer"), [](const Row& r) { return integer(r.layer); }},
                                    {whole("head"), [](const Row& r) { return integer(r.head); }}};
  add_shares(fields, [](const Row& r) { return r.attention; });
  return make_table("generation_heads", {"layer", "head"}, fields, rows);
}

Table generated_table(const GenerationStudy& study) {
  using Row = EvictedText;
  std::vector<Row> rows{full_text(study)};
  rows.insert(rows.end(), study.evicted.begin(), study.evicted.end());
  const auto at = [](auto get) {
    return
        [get](const Row& r) { return r.divergence ? Cell(get(*r.divergence)) : Cell(Null{"equal texts"}); };
  };
  const std::vector<Field<Row>> fields = {
      {word("policy"), [](const Row& r) { return Cell(r.policy); }},
      {word("budget"), [](const Row& r) { return Cell(r.budget); }},
      {whole("generated", "tokens"), [](const Row& r) { return integer(std::ssize(r.pieces)); }},
      {whole("equal", "tokens"), [](const Row& r) { return integer(r.equal); }},
      {whole("bytes", "bytes"), [](const Row& r) { return integer(r.held.back().bytes); }},
      {whole("metadata_bytes", "bytes"), [](const Row& r) { return integer(r.held.back().metadata); }},
      {number("entries", "tokens"), [](const Row& r) { return real(r.held.back().entries); }},
      {word("token_full"), at([](const Divergence& d) { return token_text(d.full); })},
      {word("token_evicted"), at([](const Divergence& d) { return token_text(d.evicted); })},
      {{"p_full"}, at([](const Divergence& d) { return real(d.full_probability, "the text ended there"); })},
      {{"p_evicted"},
       at([](const Divergence& d) { return real(d.evicted_probability, "the text ended there"); })},
      {word("ended"), [](const Row& r) { return Cell(std::string(r.stopped ? "end of text" : "length")); }},
      {{"tokens_per_second", "tokens/s"},
       [](const Row& r) { return real(per_second(r.seconds), no_timings); }},
      {word("text"), [](const Row& r) { return Cell(r.text); }}};
  return make_table("generated", {"policy", "budget"}, fields, rows);
}

Table generated_steps_table(const GenerationStudy& study) {
  struct Row {
    const EvictedText* of = nullptr;
    size_t step = 0;
    const HeldCache& held() const { return of->held[step]; }
  };
  std::vector<Row> rows;
  for (const EvictedText& text : study.evicted)
    for (size_t step = 0; step < text.held.size(); ++step) rows.push_back({&text, step});
  const std::vector<Field<Row>> fields = {
      {word("policy"), [](const Row& r) { return Cell(r.of->policy); }},
      {word("budget"), [](const Row& r) { return Cell(r.of->budget); }},
      {whole("step"), [](const Row& r) { return integer(static_cast<int64_t>(r.step)); }},
      {word("text"),
       [](const Row& r) { return r.step == 0 ? Cell(Null{"the prompt"}) : Cell(r.of->pieces[r.step - 1]); }},
      {number("entries", "tokens"), [](const Row& r) { return real(r.held().entries); }},
      {whole("bytes", "bytes"), [](const Row& r) { return integer(r.held().bytes); }},
      {whole("metadata_bytes", "bytes"), [](const Row& r) { return integer(r.held().metadata); }},
      {whole("full_bytes", "bytes"), [](const Row& r) { return integer(r.held().full_bytes); }}};
  return make_table("generated_steps", {"policy", "budget", "step"}, fields, rows);
}

std::vector<Fact> generation_facts(const GenerationStudy& study) {
  const GenerationStage& end = study.cache.end;
  AttentionShares mean, uniform;
  for (const GenerationStep& step : study.steps) {
    mean += (1 / static_cast<double>(study.steps.size())) * mean_shares(step);
    uniform += (1 / static_cast<double>(study.steps.size())) * step.uniform;
  }
  if (study.steps.empty()) mean = uniform = none();
  std::vector<Fact> facts = {
      {"prompt_tokens", integer(study.cache.prompt), "tokens", "Prompt"},
      {"generated_tokens", integer(end.generated), "tokens", "Generated"},
      {"ended", std::string(study.stopped ? "end of text" : "length"), "", "What ended the text"},
      {"text", study.text, "", "Generated text"},
      {"attention_first", real(mean.first, no_token), "", "Attention of generated tokens on the first token"},
      {"attention_prompt", real(mean.prompt, no_token), "", "... on the rest of the prompt"},
      {"attention_generated", real(mean.generated, no_token), "", "... on generated tokens before their own"},
      {"attention_self", real(mean.self, no_token), "", "... on their own"},
      {"uniform_prompt", real(uniform.prompt, no_token), "",
       "Share of the rest of the prompt among the keys that they see"},
      {"k_distance", real(end.key.drift.distance, no_drift), "",
       "Distance of generated keys from the prompt's mean (1: as the prompt's own)"},
      {"v_distance", real(end.value.drift.distance, no_drift), "", "The same of values"},
      {"k_drift", real(end.key.drift.drift, no_drift), "",
       "Distance of their mean from it, keys, in spreads of the prompt"},
      {"v_drift", real(end.value.drift.drift, no_drift), "", "The same of values"},
      {"drift_chance", real(end.chance, no_drift), "", "Of as many new tokens like the prompt's, about"},
      {"cache_bytes", integer(end.bytes), "bytes", "Keys and values at the end, in f16"},
      {"bytes_per_token", integer(f16_bytes(study.cache.shape, 1)), "bytes", "... of one token"},
      {"prefill_tokens_per_second",
       real(static_cast<double>(study.cache.prompt) / study.prefill_seconds, no_timings), "tokens/s",
       "Prefill"},
      {"tokens_per_second",
       real(per_second(study.step_seconds()), study.steps.empty() ? no_token : no_timings), "tokens/s",
       "Decoding, median step"}};
  return facts;
}

}  // namespace kvviz::tables
