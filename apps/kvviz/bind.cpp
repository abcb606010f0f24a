// SPDX-License-Identifier: MIT
#include "kvviz/bind.hpp"

#include <cmath>
#include <sstream>
#include <utility>

#include "kvviz/core/error.hpp"
#include "kvviz/policy/budget.hpp"
#include "kvviz/policy/policy.hpp"
#include "kvviz/report/gate.hpp"
#include "kvviz/result_names.hpp"

namespace kvviz {
namespace {

// `accepts` decides, `expected` says what it accepts.
template <class Accepts>
CLI::Validator number_check(Accepts accepts, std::string expected, std::string shown) {
  return CLI::Validator(
      [accepts, expected = std::move(expected)](const std::string& text) {
        double number = 0;
        const bool good = CLI::detail::lexical_cast(text, number) && std::isfinite(number) && accepts(number);
        return good ? std::string() : cat("got ", text, ", expected ", expected);
      },
      std::move(shown), "");
}

std::vector<std::string> names_of(const std::string& command) {
  std::vector<std::string> names;
  for (const ResultNames& of : result_names()) {
    if (of.command != command) continue;
    std::istringstream words(of.names);
    for (std::string name; words >> name;) names.push_back(name);
  }
  return names;
}

CLI::Validator standard_input() {
  return CLI::Validator(
      [](std::string& text) {
        if (text == "-") text = "/dev/stdin";
        return std::string();
      },
      "", "");
}

// A gate of the command, as far as that can be said before it runs.
CLI::Validator gate_of(const std::string& command) {
  return CLI::Validator(
      [command](const std::string& text) {
        const Gate gate = parse_gate(text);
        const auto names = names_of(command);
        if (!names.empty()) require_known(gate, names);
        return std::string();
      },
      "", "");
}

}  // namespace

CLI::Validator at_least(int64_t least) {
  return number_check([least](double number) { return number >= static_cast<double>(least); },
                      cat(least, " or more"), cat(least, ".."));
}

CLI::Validator above(int64_t bound) {
  return number_check([bound](double number) { return number > static_cast<double>(bound); },
                      cat("more than ", bound), cat(">", bound));
}

CLI::Validator between(double least, double most) {
  return number_check([=](double number) { return least <= number && number <= most; },
                      cat(least, " to ", most), cat(least, "..", most));
}

CLI::Validator not_empty() {
  return CLI::Validator([](const std::string& text) { return std::string(text.empty() ? "is empty" : ""); },
                        "", "");
}

CLI::Validator trimmed() {
  return CLI::Validator(
      [](std::string& text) {
        CLI::detail::trim(text);
        return std::string();
      },
      "", "");
}

CLI::Validator budget() {
  return CLI::Validator(
      [](std::string& text) {
        text = policy::parse_budget(text).text;
        return std::string();
      },
      "", "");
}

void bind_model_name(CLI::App& app, ModelOptions& o) {
  app.add_option("--model", o.model,
                 "model folder, .gguf file, hub id in the local cache (kvviz models pull), or demo")
      ->type_name("MODEL")
      ->check(not_empty())
      ->group("Model");
}

void bind(CLI::App& app, ModelOptions& o) {
  bind_model_name(app, o);
  app.add_option("--dtype", o.dtype,
                 "that the model's matrices are kept in (auto: f32); products are summed in f32")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}))
      ->group("Model");
  app.add_option(
         "--device", o.device,
         "that multiplies by these matrices and attends from many queries (auto: cuda, else mps, else cpu)")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "mps"}))
      ->group("Model");
  app.add_flag("--force", o.force, "load the model although it is not expected to fit into memory")
      ->group("Model");
}

void bind(CLI::App& app, TextOptions& o) {
  const char* group = "Text";
  app.add_option("--prompt", o.prompt, "the text itself")->check(not_empty())->group(group);
  app.add_option("--prompt-file", o.prompt_file, "a UTF-8 text file; -: standard input")
      ->type_name("FILE")
      ->check(not_empty())
      ->transform(standard_input())
      ->group(group);
  app.add_option("--tokens", o.tokens, "a file of token ids, white space or commas between them")
      ->type_name("FILE")
      ->check(not_empty())
      ->group(group);
  app.add_flag("--use-wikitext", o.use_wikitext, "an article of WikiText, or of the sample texts")
      ->group(group);
  app.add_option("--wikitext-dir", o.wikitext_dir, "folder with wiki.*.raw or wiki.*.tokens")
      ->type_name("DIR")
      ->check(not_empty())
      ->group(group);
  app.add_option("--wikitext-index", o.wikitext_index, "index of the article, as list_samples shows it")
      ->check(at_least(0))
      ->group(group);
  app.add_option(
         "--seq-len,--sequence-length", o.seq_len,
         "exactly this many tokens, BOS included; articles are joined to reach it (0: the text as it is)")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--bos", o.bos, "put a BOS token first: as the tokenizer does, always, never")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->group(group);
  app.add_flag("--truncate", o.truncate, "cut a text that is longer than the model's context")->group(group);
}

void bind(CLI::App& app, TextsOptions& o) {
  bind(app, o.text);
  const char* group = "Texts";
  app.add_option("--prompts", o.prompts,
                 "a file of prompts, one a line; .jsonl: JSON with \"text\"; a folder: its *.txt files")
      ->type_name("FILE")
      ->check(not_empty())
      ->group(group);
  app.add_option("--samples", o.samples,
                 o.one_text ? "articles A-B of WikiText, or of the sample texts (none: the first sample)"
                            : "articles A-B of WikiText, or of the sample texts (none: all samples)")
      ->check(not_empty())
      ->group(group);
  app.add_option("--probe", o.probe, "natural text, random tokens, or one random token repeated")
      ->check(CLI::IsMember({"natural", "random", "repeated"}))
      ->group(group);
  app.add_option("--probe-count", o.probe_count, "sequences of a probe")->check(at_least(1))->group(group);
  app.add_option("--probe-tokens", o.probe_tokens,
                 "tokens of a probe's sequence, BOS included, without --seq-len")
      ->check(at_least(2))
      ->group(group);
  app.add_option("--seed", o.seed, "of the random numbers")->group(group);
  bind(app, o.batch);
}

void bind(CLI::App& app, BatchOptions& o) {
  const char* group = batch_group;
  app.add_flag("--resume", o.resume, "go on with an earlier run of these texts where it ended")->group(group);
  app.add_flag("--strict", o.strict,
               "stop at the first text that fails (else it is noted, and the rest goes on)")
      ->group(group);
  app.add_option(
         "--shard", o.shard,
         "measure shard I of N alone, as in 0/8 (auto: as Slurm or MPI says); kvviz merge puts them together")
      ->check(not_empty())
      ->group(group);
  app.add_option(
         "--workers", o.workers,
         "texts worked on at once, one thread each (0: as many as threads, where there are enough texts "
         "and memory)")
      ->check(at_least(0))
      ->group(group);
}

void bind(CLI::App& app, EvictionOptions& o) {
  const char* group = "Policies";
  app.add_option("--sinks", o.sinks,
                 "first tokens that no policy but window evicts (none: 4 for streaming_llm, lagkv and "
                 "expected_attention, 0 for the others)")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--recent", o.recent,
                 "newest tokens that are not evicted (none: the policy's own, for h2o half of the budget)")
      ->check(at_least(0))
      ->group(group);
  app.add_flag("--per-query-head", o.per_query_head,
               "each query head keeps keys of its own, as the public SnapKV and H2O programs do")
      ->group(group);
  app.add_option("--observation", o.observation,
                 "snapkv, pyramidkv, adakv: newest tokens that stay and whose queries decide")
      ->check(at_least(1))
      ->group(group);
  app.add_option("--pool-kernel", o.kernel, "snapkv, pyramidkv, adakv: keys that a score is pooled over, odd")
      ->check(at_least(1))
      ->group(group);
  app.add_option("--pool", o.pool, "snapkv, pyramidkv, adakv: how scores are pooled")
      ->check(CLI::IsMember({"average", "max"}))
      ->group(group);
  app.add_option("--pyramid-beta", o.beta,
                 "pyramidkv: how steeply budgets fall from the first layer to the last")
      ->check(at_least(1))
      ->group(group);
  app.add_option("--floor", o.floor, "adakv: share of its budget that every head keeps")
      ->check(between(0.0, 1.0))
      ->group(group);
  app.add_option("--lag", o.lag, "lagkv: tokens of a partition")->check(at_least(1))->group(group);
  app.add_option("--future", o.future, "expected_attention: positions ahead that are averaged over")
      ->check(between(1, policy::most_future))
      ->group(group);
  app.add_option("--epsilon", o.epsilon, "expected_attention: added to the expected weight")
      ->check(at_least(0))
      ->group(group);
  app.add_option("--refresh", o.refresh, "expected_attention: steps between two fits of the queries")
      ->check(at_least(1))
      ->group(group);
}

void bind(CLI::App& app, OutputOptions& o) {
  const char* group = output_group;
  o.command = app.get_name();
  app.add_option("--out", o.out, "folder for graphs/ and results/")
      ->type_name("DIR")
      ->check(not_empty())
      ->group(group);
  app.add_option("--format", o.format, "format of the figures")
      ->check(CLI::IsMember({"png", "svg", "pdf"}))
      ->group(group);
  app.add_option("--plot-scale", o.plot_scale, "size of the figures")
      ->check(between(0.25, 8.0))
      ->group(group);
  app.add_option("--text-scale", o.text_scale, "size of text, lines and markers in the figures")
      ->check(between(0.5, 3.0))
      ->group(group);
  app.add_flag("--no-plots", o.no_plots, "write no figures")->group(group);
  app.add_flag("--keep-plot-scripts", o.keep_plot_scripts, "keep each figure's gnuplot script beside it")
      ->group(group);
  app.add_option("--json", o.json, "-: the result as JSON on stdout in place of the summary")
      ->check(CLI::IsMember({"-"}))
      ->group(group);
  app.add_flag("--csv", o.csv, "each table as CSV too")->group(group);
  app.add_option("--fail-if", o.fail_if,
                 "exit with 4 if this holds of the result, e.g. 'sink_rate<0.5' (repeatable)")
      ->allow_extra_args(false)
      ->check(gate_of(o.command))
      ->group(group);
  app.add_option("--junit", o.junit, "the gates and what became of them as JUnit XML")
      ->type_name("FILE")
      ->check(not_empty())
      ->group(group);
  app.add_option("--annotations", o.annotations,
                 "gates that fire as GitHub shows them beside a run (auto: where GITHUB_ACTIONS is true)")
      ->check(CLI::IsMember({"auto", "github", "none"}))
      ->group(group);
}

}  // namespace kvviz
