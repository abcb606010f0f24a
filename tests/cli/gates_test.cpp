// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::Finished;
using test::holds;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

/// A command of milliseconds that writes a result with gates: the memory of a cache of 2 layers.
Finished profile(const std::vector<std::string>& more, const fs::path& folder) {
  std::vector<std::string> arguments{"profile", "--layers",   "2", "--kv-heads",
                                     "2",       "--head-dim", "8", "--no-plots"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_kvviz(arguments, folder);
}

/// A result with these numbers of two rows.
void write_numbers(const fs::path& file, double ppl, double kl, double seconds) {
  const json columns = {{{"name", "method"}, {"unit", ""}, {"type", "text"}},
                        {{"name", "kl"}, {"unit", "nats"}, {"type", "real"}},
                        {{"name", "code_seconds"}, {"unit", "s"}, {"type", "real"}}};
  const json rows = {{{"method", "kivi:4"}, {"kl", kl}, {"code_seconds", seconds}},
                     {{"method", "q8_0"}, {"kl", 0.5}, {"code_seconds", seconds}}};
  const json table = {{"key", {"method"}}, {"columns", columns}, {"rows", rows}, {"nulls", json::array()}};
  const json result = {{"schema", 1},
                       {"command", "compress"},
                       {"provenance", {{"model", "demo"}, {"text", "a text"}, {"version", "1"}}},
                       {"summary", {{"full_ppl", ppl}}},
                       {"summary_about", {{"full_ppl", {{"label", "Perplexity"}, {"unit", ""}}}}},
                       {"nulls", json::array()},
                       {"tables", {{"compress", table}}},
                       {"figures", json::array()},
                       {"arrays", nullptr}};
  write_file(file, result.dump());
}

Finished compare(const fs::path& folder, const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"compare", "a.json", "b.json", "--no-plots"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_kvviz(arguments, folder);
}

}  // namespace

TEST_CASE("[gates] all are listed, what fired is on stderr, the report has all of them") {
  const test::TemporaryFolder folder;
  const auto run = profile(
      {"--fail-if", "layers>3", "--fail-if", "layers<=2", "--junit", "reports/gates.xml"}, folder.path());
  CHECK(run.code == 4);
  CHECK(holds(run.out, "Checks: 1 of 2 failed\n  passed     layers is 2: --fail-if layers>3\n  FAILED "));
  CHECK(run.err == "kvviz: failed: layers is 2: --fail-if layers<=2\n");
  const std::string xml = read_file(folder.path() / "reports/gates.xml");
  CHECK(holds(xml, "<testsuite name=\"kvviz profile\" tests=\"2\" failures=\"1\" errors=\"0\""));
  CHECK(holds(xml, "bound: fails if &lt;= 2&#10;"));
  CHECK(profile({"--fail-if", "layers>3"}, folder.path()).code == 0);
  const auto quiet = profile({"--fail-if", "layers>1", "--json", "-"}, folder.path());
  CHECK(quiet.code == 4);
  CHECK(json::parse(quiet.out)["summary"]["layers"] == 2);
  const auto again =
      profile({"--fail-if", "layers>3", "--fail-if", "layers<=2", "--junit", "again.xml"}, folder.path());
  const auto without_call = [](std::string text) {
    const size_t at = text.find("<property name=\"command_line\"");
    return text.erase(at, text.find('\n', at) - at);
  };
  CHECK(without_call(read_file(folder.path() / "again.xml")) == without_call(xml));
}

TEST_CASE("[gates] annotations: on request, and on GitHub by themselves") {
  const test::TemporaryFolder folder;
  const std::string line =
      "::error title=kvviz profile%3A layers>1::layers is 2: --fail-if layers>1%0Agot: 2%0Abound: fails if > "
      "1%0Aexpression: layers>1\n";
  CHECK(holds(profile({"--fail-if", "layers>1", "--annotations", "github"}, folder.path()).err, line));
  REQUIRE(setenv("GITHUB_ACTIONS", "true", 1) == 0);
  const auto there = profile({"--fail-if", "layers>1"}, folder.path());
  const auto none = profile({"--fail-if", "layers>1", "--annotations", "none"}, folder.path());
  REQUIRE(unsetenv("GITHUB_ACTIONS") == 0);
  CHECK(holds(there.err, line));
  CHECK_FALSE(holds(there.out, "::error"));
  CHECK_FALSE(holds(none.err, "::error"));
  CHECK_FALSE(holds(profile({"--fail-if", "layers>1"}, folder.path()).err, "::error"));
}

TEST_CASE("[gates] a name that the command never puts out is refused before it runs") {
  const test::TemporaryFolder folder;
  const auto run = run_kvviz(
      {"compress", "--model", "nowhere", "--fail-if", "compress.kivi:4.delta_ppl_percnt>1"}, folder.path());
  CHECK(run.code == 2);
  CHECK(holds(run.err, "the result has no delta_ppl_percnt; did you mean delta_ppl_percent?"));
  // What an option takes, here none of --annotations, is no name of a result.
  const auto no_name = run_kvviz({"analyze", "--fail-if", "nope<1"}, folder.path());
  CHECK(no_name.code == 2);
  CHECK(holds(no_name.err, "the result has no nope; the command's page lists its numbers"));
  write_file(folder.path() / "c.toml", "[profile]\nfail-if=[\"layers>3\", \"layerss>3\"]\n");
  const auto configured = run_kvviz({"--config", "c.toml", "profile"}, folder.path());
  CHECK(configured.code == 2);
  CHECK(holds(configured.err, "did you mean layers?"));
}

TEST_CASE("[gates] a row that is not there, a number that does not exist: all is written, and an error") {
  const test::TemporaryFolder folder;
  const auto row =
      profile({"--fail-if", "dtypes.f33.bytes_per_token>1", "--fail-if", "layers>1", "--junit", "x.xml"},
              folder.path());
  CHECK(row.code == 2);
  CHECK(holds(row.err, "kvviz: --fail-if dtypes.f33.bytes_per_token>1: the result has no"));
  CHECK(holds(row.err, "kvviz: failed: layers is 2"));
  CHECK(holds(row.out, "1 of 2 failed, 1 could not be decided"));
  CHECK(fs::exists(folder.path() / "results/profile.json"));
  CHECK(holds(read_file(folder.path() / "x.xml"), "failures=\"1\" errors=\"1\""));
  const auto value = profile({"--fail-if", "cache_layers.0.window>1"}, folder.path());
  CHECK(value.code == 1);
  CHECK(holds(value.err, "has no value (keeps every token)"));
}

TEST_CASE("[gates] a run that ends early leaves a report that says so, not an earlier one") {
  const test::TemporaryFolder folder;
  REQUIRE(profile({"--fail-if", "layers>3", "--junit", "x.xml"}, folder.path()).code == 0);
  REQUIRE(holds(read_file(folder.path() / "x.xml"), "errors=\"0\""));
  const auto run = run_kvviz({"profile", "--model", "nowhere", "--fail-if", "layers>3", "--junit", "x.xml"},
                             folder.path());
  CHECK(run.code == 1);
  const std::string xml = read_file(folder.path() / "x.xml");
  CHECK(holds(xml, "tests=\"1\" failures=\"0\" errors=\"1\""));
  CHECK(holds(xml, "did not reach its end"));
  write_file(folder.path() / "file", "");
  const auto no_folder =
      profile({"--fail-if", "layers>3", "--junit", "file/x.xml", "--out", "o"}, folder.path());
  CHECK(no_folder.code == 1);
  CHECK(holds(no_folder.err, "file"));
  CHECK_FALSE(fs::exists(folder.path() / "o"));
}

TEST_CASE("[compare] within the tolerance 0, beyond it 4, with what moved in order") {
  const test::TemporaryFolder folder;
  write_numbers(folder.path() / "a.json", 40, 0.02, 1);
  write_numbers(folder.path() / "b.json", 40.2, 0.03, 9);
  CHECK(compare(folder.path(), {}).code == 0);
  CHECK(compare(folder.path(), {"--tolerance", "50%"}).code == 0);
  const auto run = compare(folder.path(), {"--tolerance", "default", "--junit", "x.xml", "--csv"});
  CHECK(run.code == 4);
  CHECK(holds(run.out,
              "Moved more than tolerated, the worst first\n"
              "  compress.kivi:4.kl: 0.02 -> 0.03 (allowed +-0.0003)\n"));
  CHECK(holds(run.out, "passed     summary: nothing moved more than tolerated, of 1 values"));
  CHECK(holds(run.err, "kvviz: failed: compress: 1 of 2 values moved more than tolerated"));
  const std::string xml = read_file(folder.path() / "x.xml");
  CHECK(holds(xml, "tests=\"2\" failures=\"1\""));
  CHECK(holds(xml, "<property name=\"text_b\" value=\"a text\"/>"));
  const json result = json::parse(read_file(folder.path() / "results/compare.json"));
  CHECK(result["summary"]["moved_values"] == 1);
  CHECK(result["summary"]["ignored_values"] == 2);
  CHECK(result["tables"]["moved"]["rows"][0]["difference_percent"] == doctest::Approx(50));
  CHECK(read_file(folder.path() / "results/compare/moved.csv").starts_with("path,what,a,b,difference,"));
}

TEST_CASE("[compare] bounds by pattern, before and behind the files and from a configuration") {
  const test::TemporaryFolder folder;
  write_numbers(folder.path() / "a.json", 40, 0.02, 1);
  write_numbers(folder.path() / "b.json", 41, 0.03, 9);
  CHECK(compare(folder.path(), {"--tolerance", "full_ppl=5%", "--tolerance", "compress.*.kl=0.01"}).code ==
        0);
  CHECK(compare(folder.path(), {"--tolerance", "full_ppl=5%", "--tolerance", "code_seconds=1"}).code == 4);
  const auto first = run_kvviz({"compare", "--tolerance", "summary=ignore", "a.json", "b.json", "--no-plots"},
                               folder.path());
  CHECK(first.code == 4);
  CHECK_FALSE(holds(first.err, "summary"));
  write_file(folder.path() / "c.toml", "[compare]\ntolerance=[\"1\", \"kl=0\"]\n");
  CHECK(run_kvviz({"--config", "c.toml", "compare", "a.json", "b.json", "--no-plots"}, folder.path()).code ==
        4);
  for (const char* wrong : {"kll=1", "1%%", "ignore"}) {
    CAPTURE(wrong);
    const auto refused = compare(folder.path(), {"--tolerance", wrong});
    CHECK(refused.code == 2);
    CHECK(holds(refused.err, wrong));
  }
}

namespace {

/// What stands between the lines ```LANGUAGE and ```, one text each.
std::vector<std::string> blocks_of(const std::string& page, const std::string& language) {
  std::vector<std::string> blocks;
  std::istringstream in(page);
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) {
      inside = !inside && line == "```" + language;
      if (inside) blocks.emplace_back();
    } else if (inside) {
      blocks.back() += line + '\n';
    }
  }
  return blocks;
}

/// The commands of kvviz in a pipeline, without what catches their exit code, and without downloads.
std::string commands_in(const std::string& yaml) {
  std::string commands;
  std::istringstream in(yaml);
  bool goes_on = false;
  for (std::string line; std::getline(in, line);) {
    line.erase(0, line.find_first_not_of(' '));
    if (!goes_on && (!line.starts_with("kvviz ") || line.starts_with("kvviz models pull"))) continue;
    goes_on = line.ends_with("\\");
    commands += line.substr(0, line.find(" || ")) + '\n';
  }
  return commands;
}

}  // namespace

TEST_CASE("[docs] every command line of docs/ci.md runs with the shipped model, and its gates hold") {
  const std::string page = read_file(KVVIZ_SOURCES "/docs/ci.md");
  const auto shell = blocks_of(page, "sh"), pipelines = blocks_of(page, "yaml"),
             toml = blocks_of(page, "toml");
  REQUIRE(shell.size() == 2);
  REQUIRE(pipelines.size() == 2);
  REQUIRE(toml.size() == 1);
  std::string script =
      "set -eu\nMODEL=demo\nPATH=" + fs::path(KVVIZ_EXECUTABLE).parent_path().string() + ":$PATH\n";
  for (const std::string& block : shell) script += block;
  for (const std::string& pipeline : pipelines) {
    const std::string commands = commands_in(pipeline);
    REQUIRE(holds(commands, "kvviz compress --model \"$MODEL\""));
    REQUIRE(holds(commands, "kvviz compare baseline/compress.json"));
    script += commands;
  }
  script +=
      "kvviz --config tolerances.toml compare baseline/compress.json kv/results/compress.json --no-plots\n";
  const test::TemporaryFolder folder;
  write_file(folder.path() / "script", script);
  write_file(folder.path() / "tolerances.toml", toml.front());
  const std::string call = "cd '" + folder.path().string() + "' && sh script >out 2>&1";
  CHECK_MESSAGE(std::system(call.c_str()) == 0, read_file(folder.path() / "out"));
  CHECK(fs::exists(folder.path() / "reports/gates.xml"));
  CHECK(fs::exists(folder.path() / "reports/baseline.xml"));
}
