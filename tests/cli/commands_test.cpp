// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::run_kvviz;

namespace {
const std::vector<std::string> commands = {"analyze", "capture", "list_samples"};
}

TEST_CASE("[cli] help and version go to stdout, exit 0, and need no model") {
  const test::TemporaryFolder folder;
  const auto help = run_kvviz({"--help"}, folder.path());
  CHECK(help.code == 0);
  CHECK(help.err.empty());
  CHECK(run_kvviz({"--version"}, folder.path()).out.starts_with("kvviz "));
  CHECK(run_kvviz({"help"}, folder.path()).out == help.out);
  CHECK(run_kvviz({"help", "models", "pull"}, folder.path()).out ==
        run_kvviz({"models", "pull", "--help"}, folder.path()).out);
  for (const std::string& command : commands) {
    CAPTURE(command);
    CHECK(help.out.find(command) != std::string::npos);
    const auto own = run_kvviz({command, "--help"}, folder.path());
    CHECK(own.code == 0);
    CHECK(own.err.empty());
    CHECK(own.out.find("--model") != std::string::npos);
  }
}

TEST_CASE("[cli] the command line's mistakes end with 2 and say what is expected") {
  const test::TemporaryFolder folder;
  const std::pair<std::vector<std::string>, const char*> mistakes[] = {
      {{"analyse"},
       "commands: analyze, sinks, simulate, analyze_generation, analyze_similarity, compress, prune, "
       "tucker, profile, compare, merge, serve, capture, models, list_samples"},
      {{"analyse", "--focus", "heads"},
       "unknown command or argument analyse; did you mean analyze?; commands"},
      {{"zork"}, "unknown command or argument zork; commands"},
      {{"analyze", "--no-such-option"}, "got --no-such-option, which nothing takes; options: kvviz analyze"},
      {{"compress", "--mehtod", "q8_0"}, "got --mehtod q8_0, which nothing takes; did you mean --method?;"},
      {{"compress", "--windows", "2", "--mehtod=q8_0", "x"}, "got --mehtod=q8_0 x, which nothing takes; did"},
      {{"compress", "--qiuet"}, "did you mean --quiet?"},
      {{"--seed", "3", "compress"},
       "got --seed 3, which stands before the command; --seed goes after compress;"},
      {{"prune", "--cache", "c.h5"},
       "got --cache c.h5, which prune does not take; analyze, analyze_similarity, compress and tucker do; "},
      {{"--cache=c.h5"}, "goes after a command that takes it: analyze, analyze_similarity, compress and"},
      {{"-V"}, "got -V, which nothing takes; did you mean --version?"},
      {{"version"}, "did you mean --version?"},
      {{"analyze", KVVIZ_SOURCES "/README.md"}, "a text file is read by --prompt-file "},
      {{"help", "analyse"}, "unknown command or argument analyse; did you mean analyze?"},
      {{}, "Usage: kvviz "},
      {{"analyze", "--seq-len", "1e3"}, "--seq-len: got 1e3, expected a whole number"},
      {{"sinks", "--evaluate-reuse", "--reuse-layers", "0-1"}, "--reuse-layers: got 0-1, expected "},
      {{"analyze", "--seq-len"}, "--seq-len: got no value, expected exactly this many tokens"},
      {{"analyze", "--bos", "on", "--bos", "off"}, "--bos: got 2 values, expected one"},
      {{"compare", "one.json"}, "results: got 1, expected two result files"},
      {{"merge"}, "got no records, expected files *.records"},
      {{"analyze", "--bos", "maybe"}, "\nTry: kvviz analyze --help\n"},
      {{"zork"}, "\nTry: kvviz --help, kvviz COMMAND --help\n"},
      {{"analyze", "--focus", "layers, heds"}, "did you mean heads?"},
      {{"simulate", "--policies", "window, H20"}, "did you mean h2o?"},
      {{"compress", "--method", "q4"}, "did you mean q4_0?"},
      {{"profile", "--dtype", "fp8"}, "--dtype: unknown dtype \"fp8\"; expected f32, "},
      {{"profile", "--dtype", "fp8"}, "did you mean f8?"},
      {{"profile", "--memory", "24"}, "--memory 24 is 24 bytes; give its unit, as in 24GiB"},
      {{"profile", "--window", "100"}, "needs --layers, --kv-heads, --head-dim too"},
      {{"analyze", "--prompts", "p.json"}, "p.json is JSON as a whole; expected a prompt a line"},
      {{"serve", "--host", "0.0.0.0", "--port", "0"}, "ssh -L PORT:127.0.0.1:PORT"},
      {{"analyze", "--model", "https://huggingface.co/gpt2"}, "is an address; the model's name is gpt2"},
      {{"compress", "q8_0"}, "got q8_0, which nothing takes; options: kvviz compress --help"},
      {{"analyze", "--focus", "heds"}, "expected all, layers, heads"},
      {{"analyze", "--bos", "maybe"}, "auto"},
      {{"analyze", "--prompt", ""}, "empty"},
      {{"analyze", "--prompt-file", ""}, "empty"},
      {{"analyze", "--seq-len", "1025"}, "context of 1024"},
      {{"analyze", "--prompt", "a", "--no-plots", "--fail-if", "no_such_number>1"}, "no_such_number"},
      {{"analyze", "--prompt", "a", "--tokens", "b"}, "--prompt and --tokens"},
      {{"analyze", "--prompt", "a", "--wikitext-index", "2"}, "give one text"},
      {{"analyze", "--cache", "a.h5", "--prompt", "b"}, "without a model or a text"},
      {{"analyze", "--cache", "a.h5", "--generate", "3"}, "need a model"},
      {{"analyze", "--cache", "a.h5", "--focus", "layers", "--map-bins", "8"}, "add attention to them"},
      {{"analyze", "--focus", "layers", "--generate", "3"}, "--generate has no effect on the parts that"},
      {{"analyze", "--focus", "attention", "--generate", "4"}, "add tokens to them"},
      {{"analyze", "--focus", "heads", "--patterns", "3"},
       "--patterns has no effect on the parts that --focus"},
      {{"analyze", "--focus", "heads", "--patterns", "5"}, "add embeddings to them"},
      {{"analyze", "--focus", "embeddings", "--center", "0"}, "add layers or heads to them"},
      {{"analyze", "--cache", "a.h5", "--dtype", "bf16"}, "--dtype has no effect with --cache"},
      {{"analyze", "--cache", "a.h5", "--device", "auto"}, "--device has no effect with --cache"},
      {{"analyze", "--cache", "a.h5", "--force"}, "--force has no effect with --cache"},
      {{"analyze", "--cache", "a.h5", "--model", "demo"}, "--model has no effect with --cache"},
      {{"analyze", "--cache", "a.h5", "--wikitext-index", "0"},
       "--wikitext-index has no effect with --cache"},
      {{"analyze", "--cache", "a.h5", "--sequence-length", "9"}, "--seq-len has no effect with --cache"},
      {{"analyze", "--cache", "a.h5", "--workers", "2"}, "--workers has no effect with --cache"},
      {{"analyze_similarity", "--cache", "a.h5", "--dtype", "bf16"}, "--dtype has no effect with --cache"},
      {{"compress", "--cache", "a.h5", "--threads", "1", "--bos", "auto"},
       "--bos has no effect with --cache"},
      {{"compress", "--cache", "a.h5", "--windows", "1"}, "--windows has no effect with --cache"},
      {{"compress", "--cache", "a.h5", "--key-basis", "post_rope"}, "--key-basis has no effect with --cache"},
      {{"tucker", "--cache", "a.h5", "--samples", "0-3"}, "--samples has no effect with --cache"},
      {{"tucker", "--cache", "a.h5", "--prefix-tokens", "0"}, "--prefix-tokens has no effect with --cache"},
      {{"analyze", "--no-plots", "--text-scale", "2"}, "--text-scale has no effect with --no-plots"},
      {{"analyze", "--probe", "random", "--map-bins", "8"}, "--map-bins has no effect on several texts"},
      {{"analyze", "--prompt", "a", "--generate", "1024"}, "--generate 1024 needs more than the model's"},
      {{"analyze", "--seed", "9"}, "--seed has no effect without --probe"},
      {{"analyze", "--strict"}, "for runs over several texts"},
      {{"analyze", "--fail-if", "sink_rate"}, "PATH OP NUMBER"},
      {{"analyze", "--prompt", "a", "--no-plots", "--fail-if", "layers.1.k_hoier>1"},
       "the result has no k_hoier; did you mean k_hoyer?"},
      {{"compress", "--junit", "gates.xml"}, "give --fail-if"},
      {{"analyze", "--sink-tokens", "0"}, "sink-tokens"},
      {{"analyze", "--plot-scale", "100"}, "plot-scale"},
      {{"analyze", "--threads", "-1"}, "threads"},
      {{"capture", "--cache-dtype", "f8"}, "f32,f16,bf16"},
      {{"analyse", "--help"}, "did you mean analyze?"},
      {{"--config", "missing.toml", "analyze"}, "missing.toml"},
  };
  for (const auto& [arguments, message] : mistakes) {
    CAPTURE(message);
    const auto run = run_kvviz(arguments, folder.path());
    CHECK(run.code == 2);
    CHECK(run.out.empty());
    CHECK_MESSAGE(run.err.find(message) != std::string::npos, run.err);
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}

TEST_CASE("[cli] options without effect are refused by name") {
  const test::TemporaryFolder folder;
  using Words = std::vector<std::string>;
  const std::pair<Words, const char*> cases[] = {
      {{"simulate", "--policies", "h2o", "--observation", "16"},
       "--observation has no effect: no policy that runs reads it; these do: snapkv, pyramidkv, adakv"},
      {{"simulate", "--policies", "h2o", "--lag", "64"}, "these do: lagkv"},
      {{"simulate", "--policies", "snapkv", "--pyramid-beta", "9"}, "these do: pyramidkv"},
      {{"simulate", "--policies", "snapkv", "--floor", "0.1"}, "these do: adakv"},
      {{"simulate", "--policies", "snapkv", "--future", "9"}, "these do: expected_attention"},
      {{"simulate", "--policies", "window", "--sinks", "2"}, "--sinks has no effect"},
      {{"simulate", "--policies", "streaming_llm", "--recent", "2"}, "--recent has no effect"},
      {{"simulate", "--policies", "h2o", "--seed", "2"}, "these do: random"},
      {{"simulate", "--policies", "full", "--budget", "0.5"}, "--budget has no effect with --policies full"},
      {{"simulate", "--budget-table", "t.tsv", "--budget", "0.5"},
       "--budget has no effect with --budget-table"},
      {{"simulate", "--mode", "oneshot", "--lag", "9"}, "--lag has no effect with --mode oneshot"},
      {{"simulate", "--mode", "oneshot", "--score-from", "9"}, "--score-from has no effect with --mode"},
      {{"simulate", "--mode", "oneshot", "--seed", "9"}, "--seed has no effect without --probe"},
      {{"compress", "--method", "h2o:0.5", "--lag", "64"}, "these do: lagkv"},
      {{"sinks", "--samples", "0-1", "--shard", "0/2", "--csv"}, "--csv has no effect with --shard"},
      {{"sinks", "--samples", "0-1", "--shard", "0/2", "--format", "svg"},
       "--format has no effect with --shard"},
      {{"analyze", "--no-plots", "--format", "svg"}, "--format has no effect with --no-plots"},
      {{"analyze", "--no-plots", "--keep-plot-scripts"}, "--keep-plot-scripts has no effect with"},
      {{"sinks", "--all-maps", "--no-plots"}, "--all-maps has no effect with --no-plots"},
      {{"sinks", "--all-maps", "--map-bins", "0"}, "--all-maps has no effect with --map-bins 0"},
      {{"sinks", "--synthetic", "llama-3.1-8b", "--map-bins", "8"}, "--map-bins has no effect on random"},
      {{"analyze", "--annotations", "github"}, "--annotations github has no effect without a gate"},
      {{"analyze", "--legacy-threshold", "0.1", "--legacy-threshold-percent", "2"}, "give one of them"}};
  for (const auto& [arguments, message] : cases) {
    CAPTURE(message);
    const auto run = run_kvviz(arguments, folder.path());
    CHECK(run.code == 2);
    CHECK_MESSAGE(run.err.find(message) != std::string::npos, run.err);
    CHECK(std::filesystem::is_empty(folder.path()));
  }
  // At least one policy reads it; a configuration may list all defaults.
  write_file(folder / "c.toml", run_kvviz({"--dump-config"}, folder.path()).out);
  const Words text{"--samples", "0", "--seq-len", "64", "--no-plots"};
  for (Words fine : {Words{"simulate", "--policies", "h2o,lagkv", "--lag", "16"},
                     Words{"simulate", "--policies", "adakv:lagkv", "--lag", "16"},
                     Words{"--config", "c.toml", "simulate", "--policies", "full"}}) {
    fine.insert(fine.end(), text.begin(), text.end());
    const auto run = run_kvviz(fine, folder.path());
    CHECK_MESSAGE(run.code == 0, run.err);
  }
}

TEST_CASE("[cli] a byte order mark is no part of a text") {
  const test::TemporaryFolder folder;
  const std::string text = "Once upon a time there was a lamp.\n", mark = "\xEF\xBB\xBF";
  write_file(folder / "plain.txt", text);
  write_file(folder / "marked.txt", mark + text);
  const auto hash = [&](const char* option, const char* file) {
    const auto run =
        run_kvviz({"analyze", option, file, "--focus", "layers", "--no-plots", "--json", "-"}, folder.path());
    REQUIRE_MESSAGE(run.code == 0, run.err);
    return nlohmann::json::parse(run.out)["provenance"]["text_sha256"];
  };
  for (const char* option : {"--prompt-file", "--prompts"})
    CHECK(hash(option, "plain.txt") == hash(option, "marked.txt"));
}

TEST_CASE("[cli] compare says what it takes, and which options differ") {
  const test::TemporaryFolder folder;
  const auto profile = [&](const char* tokens) {
    const auto run = run_kvviz({"profile", "--tokens", tokens, "--out", tokens, "--no-plots"}, folder.path());
    REQUIRE_MESSAGE(run.code == 0, run.err);
    return std::string(tokens) + "/results/profile.json";
  };
  const std::string a = profile("100"), b = profile("200");
  const auto compare = [&](const std::string& one, const std::string& other) {
    return run_kvviz({"compare", one, other, "--no-plots"}, folder.path());
  };
  const auto both = compare(a, b).out;
  CHECK_MESSAGE(both.starts_with("a: 100/results/profile.json: demo, "), both);
  CHECK(both.find("--tokens: 100 and 200\n") != std::string::npos);
  CHECK(compare("100", "200").err.find("100 is a folder; it has 100/results/profile.json") !=
        std::string::npos);
  CHECK(compare(a, "200/results/profile.h5").err.find("is an HDF5 file") != std::string::npos);
}

TEST_CASE("[cli] a config file sets options, the command line wins, unknown keys are errors") {
  const test::TemporaryFolder folder;
  write_file(folder.path() / "c.toml",
             "[analyze]\nno-plots=true\nfocus=[\"layers\"]\nprompt=\"Once upon a time\"\nbos=\"off\"\n");
  const auto from_file = run_kvviz({"--config", "c.toml", "analyze", "--json", "-"}, folder.path());
  REQUIRE_MESSAGE(from_file.code == 0, from_file.err);
  const auto result = nlohmann::json::parse(from_file.out);
  CHECK(result["figures"].empty());
  CHECK(result["provenance"]["bos"] == "off");
  const auto over = run_kvviz({"--config", "c.toml", "analyze", "--json", "-", "--bos", "on"}, folder.path());
  CHECK(nlohmann::json::parse(over.out)["provenance"]["bos"] == "on");
  write_file(folder.path() / "c.toml", "[analyze]\nzork=true\n");
  const auto unknown = run_kvviz({"--config", "c.toml", "analyze"}, folder.path());
  CHECK(unknown.code == 2);
  CHECK_MESSAGE(unknown.err.find("zork") != std::string::npos, unknown.err);
  const std::tuple<const char*, std::vector<std::string>, const char*> mistakes[] = {
      {"[analyze]\nfocuss=1\n",
       {},
       "c.toml: unknown key focuss; did you mean focus? (in [analyze]); kvviz --dump"},
      {"[analyze]\nfoo=1\n",
       {},
       "c.toml: unknown key foo (in [analyze]); kvviz --dump-config lists the keys"},
      {"thread=1\n", {}, "c.toml: unknown key thread; did you mean threads?"},
      {"[analyse]\nfoo=1\n", {}, "c.toml: unknown section [analyse]; did you mean [analyze]?; kvviz"},
      {"[analyze]\nsink-eps=\"abc\"\n", {}, "kvviz: c.toml: --sink-eps: got abc, expected a number"},
      {"[analyze]\nseq_len=-1\n", {}, "kvviz: c.toml: --seq-len: got -1, expected 0 or more"},
      {"[models.pull]\nfoo=1\n", {}, "unknown key foo (in [models.pull])"},
      {"seq-len=100\n",
       {},
       "key seq-len stands in no section; it goes below that of its command, as in [analyze]"},
      {"[analyze]\nseq-len 100\n", {}, "got 'seq-len 100', expected KEY = VALUE (in [analyze])"},
      {"[analyze]\nseq-len=-1\n", {}, "kvviz: c.toml: --seq-len: got -1, expected 0 or more"},
      {"[analyze]\nbos=\"off\"\n", {"--sequence-length", "-1"}, "kvviz: --seq-len: got -1, expected"}};
  for (const auto& [text, more, message] : mistakes) {
    write_file(folder.path() / "c.toml", text);
    std::vector<std::string> arguments{"--config", "c.toml", "analyze"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto refused = run_kvviz(arguments, folder.path());
    CHECK(refused.code == 2);
    CHECK_MESSAGE(refused.err.find(message) != std::string::npos, refused.err);
  }
}

TEST_CASE("[cli] config/default.toml is what --dump-config prints, and can be read back") {
  const test::TemporaryFolder folder;
  const auto dump = run_kvviz({"--dump-config"}, folder.path());
  CHECK(dump.out == read_file(KVVIZ_SOURCES "/config/default.toml"));
  const auto again =
      run_kvviz({"--config", KVVIZ_SOURCES "/config/default.toml", "list_samples"}, folder.path());
  CHECK_MESSAGE(again.code == 0, again.err);
  // All options with their defaults: none of them is refused as one without effect.
  const std::vector<std::string> with_all{"--config", KVVIZ_SOURCES "/config/default.toml"};
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), with_all.begin(), with_all.end());
    const auto done = run_kvviz(arguments, folder.path());
    CHECK_MESSAGE(done.code == 0, done.err);
  };
  run({"capture", "--seq-len", "32"});
  run({"analyze", "--cache", "caches/cache.h5", "--focus", "layers", "--no-plots"});
  run({"analyze_similarity", "--cache", "caches/cache.h5", "--no-plots"});
}

TEST_CASE("[cli] list_samples has stable indices, titles, characters and tokens; both spellings work") {
  const test::TemporaryFolder folder;
  const auto list = run_kvviz({"list-samples", "--json", "-"}, folder.path());
  REQUIRE_MESSAGE(list.code == 0, list.err);
  const auto rows = nlohmann::json::parse(list.out)["rows"];
  REQUIRE(rows.size() >= 5);
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i]["index"] == i);
    CHECK(rows[i]["characters"] > 3000);
    CHECK(rows[i]["tokens"] > 700);
  }
  CHECK(rows[0]["title"] == "Lighthouse");
  CHECK(run_kvviz({"list_samples", "--wikitext-dir", "nowhere"}, folder.path()).code == 1);
}
