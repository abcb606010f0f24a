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
      {{"--seed", "3", "compress"}, "got --seed 3, which nothing takes; --seed goes after compress;"},
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
    CAPTURE(arguments.back());
    const auto run = run_kvviz(arguments, folder.path());
    CHECK(run.code == 2);
    CHECK(run.out.empty());
    CHECK_MESSAGE(run.err.find(message) != std::string::npos, run.err);
    CHECK(std::filesystem::is_empty(folder.path()));
  }
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
      {"[analyze]\nsink-eps=\"abc\"\n", {}, "kvviz: c.toml: Could not convert: --sink-eps = abc"},
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
