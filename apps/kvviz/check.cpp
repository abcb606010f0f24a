// SPDX-License-Identifier: MIT
#include "kvviz/check.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

std::string texts_given(const TextOptions& o) {
  std::string names;
  const auto add = [&](bool given, const char* name) {
    if (given) names += (names.empty() ? "" : " and ") + std::string(name);
  };
  add(!o.prompt.empty(), "--prompt");
  add(!o.prompt_file.empty(), "--prompt-file");
  add(!o.tokens.empty(), "--tokens");
  add(o.use_wikitext || !o.wikitext_dir.empty() || o.wikitext_index > 0,
      "--use-wikitext (or its folder or index)");
  return names;
}

std::vector<double> values(const analysis::AttentionOptions& options) {
  std::vector<double> all;
  analysis::AttentionOptions::fields(options, [&](const auto& value, const char*, const char*) {
    all.push_back(static_cast<double>(value));
  });
  return all;
}

// Whether an option of the attention or generation analyses differs from its default.
bool changes_attention(const AnalyzeOptions& o) {
  const AnalyzeOptions defaults;
  return o.generate != defaults.generate || o.map_bins != defaults.map_bins ||
         o.gqa_agg != defaults.gqa_agg || values(o.attention) != values(defaults.attention);
}

bool has_focus(const AnalyzeOptions& o, std::initializer_list<const char*> names) {
  return std::any_of(o.focus.begin(), o.focus.end(), [&](const std::string& focus) {
    return std::find(names.begin(), names.end(), focus) != names.end();
  });
}

bool same(const analysis::SyntheticOptions& a, const analysis::SyntheticOptions& b) {
  return a.layers == b.layers && a.heads == b.heads && a.kv_heads == b.kv_heads && a.lengths == b.lengths &&
         a.base_first == b.base_first && a.base_last == b.base_last && a.tendency_a == b.tendency_a &&
         a.tendency_b == b.tendency_b && a.slope == b.slope && a.floor == b.floor && a.noise == b.noise &&
         a.p_min == b.p_min && a.p_max == b.p_max && a.sink_a == b.sink_a && a.sink_b == b.sink_b &&
         a.other_a == b.other_a && a.other_b == b.other_b;
}

bool asks_for_texts(const TextsOptions& o) {
  return !texts_given(o.text).empty() || o.text.seq_len != 0 || o.text.truncate || !o.prompts.empty() ||
         !o.samples.empty() || o.probe != "natural";
}

void check_synthetic(const SinksOptions& o) {
  const SinksOptions defaults;
  const bool random = !o.synthetic.empty(), fitted = !o.synthetic_fit.empty();
  require<UsageError>(!(random && fitted), "got --synthetic and --synthetic-fit; give one of them");
  require<UsageError>(random || same(o.random, defaults.random),
                      "got an option of the random model without --synthetic");
  if (!random && !fitted) return;
  require<UsageError>(!asks_for_texts(o.texts) && o.model.model == defaults.model.model && !o.reuse.evaluate,
                      random ? "--synthetic" : "--synthetic-fit",
                      " draws random numbers; it takes no model, text or --evaluate-reuse");
}

}  // namespace

void check(const TextOptions& o) {
  const std::string names = texts_given(o);
  require<UsageError>(names.find(" and ") == std::string::npos, "got ", names, "; give one text");
}

void check(const AnalyzeOptions& o) {
  check(o.text);
  if (o.cache.empty()) {
    require<UsageError>(
        !changes_attention(o) || has_focus(o, {"all", "attention", "tokens"}),
        "got an option of the attention or generation analyses, which --focus leaves out; add "
        "attention or tokens");
    return;
  }
  const AnalyzeOptions defaults;
  const std::string names = texts_given(o.text);
  const bool for_texts = o.text.seq_len != 0 || o.text.bos != defaults.text.bos || o.text.truncate;
  require<UsageError>(names.empty() && !for_texts && o.model.model == defaults.model.model,
                      "--cache is analysed without a model or a text; got ",
                      names.empty() ? "--model, --seq-len, --bos or --truncate" : names, " too");
  require<UsageError>(!changes_attention(o) && !has_focus(o, {"attention"}),
                      "a cache file holds keys and values, no queries and no model; got an option of the "
                      "attention or generation analyses, which need a model");
}

void check(const TextsOptions& o) {
  const TextsOptions defaults;
  check(o.text);
  const bool one = !o.text.prompt.empty() || !o.text.prompt_file.empty() || !o.text.tokens.empty() ||
                   o.text.use_wikitext || o.text.wikitext_index > 0;
  const int sources = (one ? 1 : 0) + (o.prompts.empty() ? 0 : 1) + (o.samples.empty() ? 0 : 1) +
                      (o.probe == "natural" ? 0 : 1);
  require<UsageError>(sources <= 1,
                      "got several of --prompts, --samples, --probe and a single text; give one");
  require<UsageError>(o.probe != "natural" ||
                          (o.probe_count == defaults.probe_count && o.probe_tokens == defaults.probe_tokens),
                      "--probe-count and --probe-tokens belong to --probe random or repeated");
  require<UsageError>(o.text.wikitext_dir.empty() || o.prompts.empty(),
                      "--wikitext-dir has no effect with --prompts");
}

void check(const SimulateOptions& o) {
  check(o.texts);
  require<UsageError>(o.prompt_tokens == 0 || o.prefill == "full",
                      "--prompt-tokens belongs to --prefill full; got --prefill ", o.prefill);
  require<UsageError>(o.target.empty() || o.budget_table.empty(),
                      "--target searches for budgets; it takes no --budget-table");
  const NeedleOptions none;
  require<UsageError>(!o.needle.needle.empty() || (o.needle.question.empty() && o.needle.answer.empty() &&
                                                   o.needle.depths == none.depths &&
                                                   o.needle.lengths.empty() && o.needle.place == none.place),
                      "got --question, --answer, --depths, --lengths or --needle-place without --needle");
  require<UsageError>(
      o.needle.place == none.place || (o.needle.depths == none.depths && o.needle.lengths.empty()),
      "--needle-place found leaves the needle where it is; --depths and --lengths are for hide");
  require<UsageError>(o.needle.needle.empty() || !o.needle.question.empty(),
                      "--needle hides a sentence; give the --question it answers too");
  require<UsageError>(
      o.mode == "decode" ||
          (o.positions == "original" && o.prefill == "stepwise" && o.target.empty() &&
           o.needle.needle.empty() && o.generate == 0 && !o.eviction_log && o.budget_table.empty()),
      "--mode oneshot masks finished attention; it takes no --positions, --prefill, --target, "
      "--needle, --generate, --eviction-log or --budget-table");
}

void check(const GenerationOptions& o) {
  const GenerationOptions defaults;
  check(o.text);
  require<UsageError>(o.temperature > 0 || (o.top_k == 0 && o.top_p == 1 && o.seed == defaults.seed),
                      "got --top-k, --top-p or --seed at --temperature 0, which always takes the most "
                      "likely token; give a --temperature above 0");
  require<UsageError>(
      !o.policies.empty() || (o.budgets.empty() && o.positions == defaults.positions &&
                              o.prefill == defaults.prefill && o.eviction == defaults.eviction),
      "got --budget or another option of eviction without --policy");
}

void check(const SinksOptions& o) {
  const SinksOptions defaults;
  check(o.texts);
  const ReuseOptions& reuse = o.reuse;
  require<UsageError>(
      reuse.evaluate || (reuse.heads == defaults.reuse.heads && reuse.layers.empty() &&
                         reuse.up_to == defaults.reuse.up_to && reuse.repeats == defaults.reuse.repeats),
      "got an option of the reuse evaluation without --evaluate-reuse");
  check_synthetic(o);
}

}  // namespace kvviz
