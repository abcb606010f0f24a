// SPDX-License-Identifier: MIT
#include "kvviz/check.hpp"

#include <algorithm>

#include "kvviz/arguments.hpp"
#include "kvviz/bind.hpp"
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

bool has_focus(const AnalyzeOptions& o, const std::vector<std::string>& names) {
  return std::ranges::any_of(o.focus,
                             [&](const std::string& focus) { return std::ranges::count(names, focus) > 0; });
}

bool asks_for_a_text(const TextsOptions& o) {
  return !texts_given(o.text).empty() || !o.prompts.empty() || !o.samples.empty() || o.probe != "natural";
}

bool asks_for_texts(const TextsOptions& o) {
  return asks_for_a_text(o) || o.text.seq_len != 0 || o.text.truncate || o.batch != BatchOptions{};
}

void check_synthetic(const SinksOptions& o) {
  const SinksOptions defaults;
  const bool random = !o.synthetic.empty(), fitted = !o.synthetic_fit.empty();
  require<UsageError>(!(random && fitted), "got --synthetic and --synthetic-fit; give one of them");
  require<UsageError>(random || o.random == defaults.random,
                      "got an option of the random model without --synthetic");
  if (!random && !fitted) return;
  require<UsageError>(!asks_for_texts(o.texts) && o.model.model == defaults.model.model && !o.reuse.evaluate,
                      random ? "--synthetic" : "--synthetic-fit",
                      " draws random numbers; it takes no model, text or --evaluate-reuse");
}

/// The file of token ids has another name here, as --tokens are positions.
void check_texts(const PruneOptions& o) {
  TextsOptions without = o.texts;
  without.text.tokens.clear();
  const bool other = asks_for_a_text(without);
  require<UsageError>(o.texts.text.tokens.empty() || !other,
                      "got --token-ids and another text; give one text");
  check(o.texts, o.output);
}

void check_prune_method(const PruneOptions& o) {
  if (o.prune_method.empty()) return;
  const std::string flag = cat("--prune-method ", o.prune_method);
  const bool elements = !o.channels.empty() || o.threshold;
  const bool layer = o.prune_method == "layer", head = o.prune_method == "head";
  require<UsageError>(!layer || (!o.layers.empty() && o.heads.empty()), flag,
                      ": give --layers, and no --heads");
  require<UsageError>(!head || !o.heads.empty(), flag, ": give --heads");
  require<UsageError>(o.prune_method != "dimension" || (!o.channels.empty() && !o.threshold), flag,
                      ": give --channels, and no --threshold");
  require<UsageError>(o.prune_method != "threshold" || o.channels.empty(), flag, " takes no --channels");
  require<UsageError>(o.tokens.empty() && o.query_heads.empty() && !((layer || head) && elements), flag,
                      " removes nothing else; leave out the method to remove several things");
}

/// Groups of options that say which model runs on which texts.
constexpr const char* text_groups[] = {"Model", "Text", "Texts", batch_group};

void check_cache_alone(const CLI::App& command, const CallOptions& call) {
  for (const CLI::Option* option : command.get_options()) {
    const bool of_text = std::ranges::count(text_groups, option->get_group()) > 0;
    require<UsageError>(!of_text || option->get_name() == "--cache" || !is_chosen(*option, call.typed),
                        option->get_name(),
                        " has no effect with --cache: a cache file is analysed without a "
                        "model or a text");
  }
}

/// None of `names` was chosen, whatever its value.
void check_without_effect(const CLI::App& command, const CallOptions& call,
                          std::initializer_list<const char*> names, const char* why) {
  for (const char* name : names) {
    const CLI::Option* option = command.get_option_no_throw(name);
    require<UsageError>(option == nullptr || !is_chosen(*option, call.typed), name, " has no effect ", why);
  }
}

void check_seed(const TextsOptions& texts, const CLI::App& command, const CallOptions& call) {
  if (texts.probe == TextsOptions{}.probe)
    check_without_effect(command, call, {"--seed"}, "without --probe, whose tokens are drawn");
}

/// An option of `analyze` and the parts of --focus that it changes something of.
struct PartOption {
  const char* name;
  std::vector<std::string> parts;
  bool zero_is_none = false;  // 0 asks for what there is without the part
};

const std::vector<PartOption>& part_options() {
  static const std::vector<PartOption> all = {
      {"--generate", {"tokens"}, true},
      {"--map-bins", {"attention"}, true},
      {"--gqa-agg", {"attention"}},
      {"--legacy-prunable-layers", {"layers"}},
      {"--small-eps", {"layers", "heads"}},
      {"--center", {"layers", "heads"}},
      {"--legacy-prunable-heads", {"heads"}},
      {"--outlier-ratio", {"embeddings"}},
      {"--skip-first", {"embeddings"}},
      {"--patterns", {"embeddings"}},
      {"--legacy-prunable-channels", {"embeddings"}},
      {"--bins-per-decade", {"distribution"}},
      {"--legacy-bins", {"distribution"}},
      {"--legacy-threshold-percent", {"layers", "heads", "tokens", "embeddings", "distribution"}},
      {"--legacy-threshold", {"layers", "heads", "tokens", "embeddings", "distribution"}},
      {"--sink-eps", {"attention", "tokens"}},
      {"--sink-tokens", {"attention", "tokens"}},
      {"--first-keys", {"attention"}},
      {"--class-sink", {"attention"}},
      {"--class-local", {"attention"}},
      {"--class-global", {"attention"}},
      {"--top-keys", {"attention"}},
      {"--least-exposure", {"attention", "tokens"}}};
  return all;
}

bool asks_for_more(const PartOption& of, const CLI::App& command, const CallOptions& call) {
  const CLI::Option* option = command.get_option_no_throw(of.name);
  return is_chosen(*option, call.typed) &&
         !(of.zero_is_none && option->results() == std::vector<std::string>{"0"});
}

void check_parts(const AnalyzeOptions& o, const CLI::App& command) {
  for (const PartOption& of : part_options()) {
    if (has_focus(o, {"all"}) || has_focus(o, of.parts) || !asks_for_more(of, command, o.call)) continue;
    std::string parts;
    for (const std::string& part : of.parts)
      parts += (parts.empty() ? "" : part == of.parts.back() ? " or " : ", ") + part;
    throw UsageError(cat(of.name, " has no effect on the parts that --focus names; add ", parts, " to them"));
  }
}

}  // namespace

void check(const TextOptions& o) {
  const std::string names = texts_given(o);
  require<UsageError>(names.find(" and ") == std::string::npos, "got ", names, "; give one text");
}

bool asks_for_attention(const AnalyzeOptions& o, const CLI::App& command) {
  const auto asks = [&](const PartOption& of) {
    return of.parts.front() == "attention" && asks_for_more(of, command, o.call);
  };
  return has_focus(o, {"attention"}) || std::ranges::any_of(part_options(), asks);
}

void check(const AnalyzeOptions& o, const CLI::App& command) {
  check(o.texts, o.output);
  check_parts(o, command);
  check_seed(o.texts, command, o.call);
  if (o.cache.empty()) return;
  check_cache_alone(command, o.call);
  require<UsageError>(o.generate == 0 || !is_chosen(*command.get_option("--generate"), o.call.typed),
                      "--generate ", o.generate,
                      ": a cache file has no model to go on with; the generation stages need a model and a "
                      "text");
}

void check_output(const CLI::App& command, const CallOptions& call) {
  const auto chosen = [&](const char* name) { return std::ranges::count(call.chosen, name) > 0; };
  if (chosen("--shard"))
    check_without_effect(
        command, call,
        {"--csv", "--format", "--plot-scale", "--text-scale", "--keep-plot-scripts", "--annotations"},
        "with --shard, which makes no result, only records; give it to kvviz merge");
  if (chosen("--no-plots"))
    check_without_effect(command, call, {"--format", "--plot-scale", "--text-scale", "--keep-plot-scripts"},
                         "with --no-plots");
  const CLI::Option* annotations = command.get_option_no_throw("--annotations");
  require<UsageError>(annotations == nullptr || annotations->as<std::string>() != "github" ||
                          chosen("--fail-if") || chosen("--tolerance"),
                      "--annotations github has no effect without a gate (--fail-if)");
  require<UsageError>(!chosen("--legacy-threshold") || !chosen("--legacy-threshold-percent"),
                      "got --legacy-threshold and --legacy-threshold-percent; give one of them");
}

void check(const SimilarityOptions& o, const CLI::App& command) {
  check(o.texts, o.output);
  check_seed(o.texts, command, o.call);
  if (!o.cache.empty()) check_cache_alone(command, o.call);
}

void check(const TextsOptions& o, const OutputOptions& output) {
  const TextsOptions defaults;
  require<UsageError>(
      o.batch.shard.empty() || (output.fail_if.empty() && output.junit.empty() && output.json.empty()),
      "--shard ", o.batch.shard,
      " makes no result, only records; give --fail-if, --junit and --json to kvviz merge");
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

void check(const CompressOptions& o, const CLI::App& command) {
  check(o.texts, o.output);
  require<UsageError>(!o.streaming || (o.windows == 1 && o.prefix_tokens == 0),
                      "--streaming codes every token when it is written; it takes no --windows or "
                      "--prefix-tokens");
  if (o.cache.empty()) return;
  check_cache_alone(command, o.call);
  check_without_effect(command, o.call,
                       {"--streaming", "--windows", "--prefix-tokens", "--recommend", "--kivi-table"},
                       "with --cache: there is no model whose loss could be measured");
  check_without_effect(command, o.call, {"--key-basis"}, "with --cache, whose keys are in one basis already");
}

void check(const SimulateOptions& o, const CLI::App& command) {
  check(o.texts, o.output);
  if (o.mode == "oneshot") {
    check_seed(o.texts, command, o.call);
    check_without_effect(command, o.call,
                         {"--score-from", "--recent", "--observation", "--pool-kernel", "--pool",
                          "--pyramid-beta", "--floor", "--lag", "--future", "--epsilon", "--refresh"},
                         "with --mode oneshot, which masks finished attention by position and weight");
  }
  if (o.policies == std::vector<std::string>{"full"})
    check_without_effect(command, o.call, {"--budget", "--budget-table", "--target"},
                         "with --policies full, which holds every key");
  if (!o.budget_table.empty())
    check_without_effect(command, o.call, {"--budget"}, "with --budget-table, which has all budgets");
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

void check(const PruneOptions& o) {
  check_texts(o);
  const PruneOptions defaults;
  const bool of_elements = !o.channels.empty() || o.threshold || o.prune_method == "threshold";
  require<UsageError>(o.query_heads.empty() || o.heads.empty(),
                      "--heads and --query-heads: a KV head is gone when all its query heads are; name those "
                      "in --query-heads");
  require<UsageError>(o.sides == defaults.sides || of_elements || o.sweep == "channels", "--sides ", o.sides,
                      " says whose channels or small elements are removed; give --channels, --threshold or "
                      "--sweep channels with it");
  require<UsageError>(o.channel_block == 0 || o.sweep == "channels",
                      "--channel-block belongs to --sweep channels");
  require<UsageError>(!o.threshold || (*o.threshold > 0 && *o.threshold <= 100), "--threshold ",
                      o.threshold.value_or(0), ": expected a percentage above 0, up to 100");
  check_prune_method(o);
  const bool parts = !o.query_heads.empty() || !o.tokens.empty() || of_elements || !o.heads.empty();
  if (!o.sweep.empty()) {
    require<UsageError>(!parts && o.prune_method.empty(),
                        "--sweep removes every part of the cache, one at a "
                        "time; of what to remove it takes --layers alone");
    require<UsageError>(o.decode_steps == defaults.decode_steps,
                        "--sweep times nothing; leave out "
                        "--decode-steps");
  } else {
    require<UsageError>(parts || !o.layers.empty(),
                        "nothing to remove: give --layers, --heads, --query-heads, --tokens, --channels or "
                        "--threshold, or --sweep; e.g. kvviz prune --tokens 0-3, kvviz prune --sweep heads");
  }
  require<UsageError>(!o.no_timings || o.decode_steps == defaults.decode_steps,
                      "--decode-steps has no effect with --no-timings");
  require<UsageError>(o.continuation.empty() || (o.prefix_tokens == 0 && o.windows == 1),
                      "with --continuation the text as a whole is the prefix; it takes no --prefix-tokens or "
                      "--windows");
}

void check(const TuckerOptions& o, const CLI::App& command) {
  check(o.texts, o.output);
  const std::pair<const char*, const std::optional<int64_t>&> ranks[] = {
      {"--head-rank", o.head_rank}, {"--token-rank", o.token_rank}, {"--channel-rank", o.channel_rank}};
  for (const auto& [name, rank] : ranks)
    require<UsageError>(rank.value_or(1) >= 1, name, ' ', rank.value_or(1),
                        " keeps nothing; a rank is 1 or more, and without the option the mode stays whole");
  require<UsageError>(!o.key_basis || o.sides != "values",
                      "--key-basis has no effect with --sides values, which leaves the keys as they are");
  if (o.cache.empty()) return;
  check_cache_alone(command, o.call);
  check_without_effect(command, o.call, {"--prefix-tokens", "--windows", "--sweep", "--no-sensitivity"},
                       "with --cache: there is no model whose loss could be measured");
}

void check(const GenerationOptions& o) {
  const GenerationOptions defaults;
  check(o.texts, o.output);
  const bool seeded = o.texts.seed != defaults.texts.seed && o.texts.probe == defaults.texts.probe;
  require<UsageError>(o.temperature > 0 || (o.top_k == 0 && o.top_p == 1 && !seeded),
                      "got --top-k, --top-p or --seed at --temperature 0, which always takes the most "
                      "likely token; give a --temperature above 0");
  require<UsageError>(
      !o.policies.empty() || (o.budgets.empty() && o.positions == defaults.positions &&
                              o.prefill == defaults.prefill && o.eviction == defaults.eviction),
      "got --budget or another option of eviction without --policy");
}

void check(const SinksOptions& o, const CLI::App& command) {
  const SinksOptions defaults;
  check(o.texts, o.output);
  // kvviz merge may be asked for no figures of a run that was asked for maps.
  if ((o.output.no_plots && o.call.records.empty()) || o.map_bins == 0)
    check_without_effect(command, o.call, {"--all-maps"},
                         o.map_bins == 0 ? "with --map-bins 0" : "with --no-plots: maps are figures");
  if (!o.synthetic.empty() || !o.synthetic_fit.empty())
    check_without_effect(command, o.call, {"--map-bins", "--all-maps"},
                         "on random numbers, which have no attention maps");
  const ReuseOptions& reuse = o.reuse;
  require<UsageError>(
      reuse.evaluate || (reuse.heads == defaults.reuse.heads && reuse.layers.empty() &&
                         reuse.up_to == defaults.reuse.up_to && reuse.repeats == defaults.reuse.repeats),
      "got an option of the reuse evaluation without --evaluate-reuse");
  check_synthetic(o);
}

}  // namespace kvviz
