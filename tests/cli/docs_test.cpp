// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/result_file.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path docs = fs::path(KVVIZ_SOURCES) / "docs";

struct HelpOption {
  std::vector<std::string> names;  ///< all long names
  std::string default_value;       ///< empty: none
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// "  --seq-len,--sequence-length INT:0.. [0]   meaning", one line an option.
std::vector<HelpOption> options_of(const std::vector<std::string>& command) {
  const test::TemporaryFolder folder;
  auto arguments = command;
  arguments.push_back("--help");
  std::vector<HelpOption> options;
  for (const std::string& line : lines_of(run_kvviz(arguments, folder.path()).out)) {
    std::istringstream words(line);
    std::string names, type, value;
    words >> names >> type >> value;
    if (!line.starts_with("  -") || names.find("--") == std::string::npos) continue;
    HelpOption option;
    std::istringstream parts(names);
    for (std::string name; std::getline(parts, name, ',');)
      if (name.starts_with("--")) option.names.push_back(name);
    if (value.starts_with('[')) option.default_value = value.substr(1, value.find(']') - 1);
    options.push_back(option);
  }
  return options;
}

/// The commands below a command, as `kvviz models --help` lists them under "Commands:"; most have none.
std::vector<std::string> subcommands_of(const std::string& command) {
  const test::TemporaryFolder folder;
  std::vector<std::string> names;
  bool listed = false;
  for (const std::string& line : lines_of(run_kvviz({command, "--help"}, folder.path()).out)) {
    if (line.ends_with(":")) listed = line == "Commands:";
    std::istringstream words(line);
    std::string name;
    if (listed && line.starts_with("  ") && words >> name) names.push_back(name);
  }
  return names;
}

/// Those of the command and of the commands below it.
std::vector<HelpOption> all_options_of(const std::string& command) {
  auto options = options_of({command});
  for (const std::string& name : subcommands_of(command)) {
    const auto more = options_of({command, name});
    options.insert(options.end(), more.begin(), more.end());
  }
  return options;
}

/// Every command of `kvviz --help`: the lines below a heading "Group:" other than "Options:".
std::vector<std::string> commands() {
  const test::TemporaryFolder folder;
  std::vector<std::string> names;
  bool listed = false;
  for (const std::string& line : lines_of(run_kvviz({"--help"}, folder.path()).out)) {
    if (line.ends_with(":")) listed = line != "Options:";
    std::istringstream words(line);
    std::string name;
    if (listed && line.starts_with("  ") && words >> name) names.push_back(name);
  }
  return names;
}

std::string code(const std::string& name) {
  return '`' + name + '`';
}

/// The row of the page's tables that is about the option; empty: none.
std::string option_row(const std::string& page, const std::string& option) {
  for (const std::string& line : lines_of(page)) {
    const std::string first_cell = line.substr(0, line.find('|', 1));
    if (line.starts_with("| `--") && first_cell.find(code(option)) != std::string::npos) return line;
  }
  return {};
}

void check_options(const std::string& page, const std::vector<HelpOption>& options) {
  for (const HelpOption& option : options)
    for (const std::string& name : option.names) {
      CAPTURE(name);
      const std::string row = option_row(page, name);
      CHECK_FALSE(row.empty());
      if (!option.default_value.empty())
        CHECK_MESSAGE(row.find("| " + code(option.default_value) + " |") != std::string::npos, row);
    }
}

}  // namespace

TEST_CASE("[docs] every command has a page that names all its options with their defaults") {
  const auto all = commands();
  REQUIRE(all.size() >= 3);
  for (const std::string& command : all) {
    CAPTURE(command);
    const fs::path file = docs / (command + ".md");
    REQUIRE(fs::exists(file));
    const std::string page = read_file(file);
    CHECK(page.find("`--help`") != std::string::npos);
    auto options = all_options_of(command);
    REQUIRE(options.size() > 3);
    std::erase_if(options, [](const HelpOption& option) { return option.names.front() == "--help"; });
    check_options(page, options);
    for (const char* section :
         {"## Synopsis", "## Options", "## Output", "## Example", "## Exit codes", "## Memory and cost"})
      CHECK_MESSAGE(page.find(section) != std::string::npos, section);
  }
}

TEST_CASE("[docs] a page has no option that the command does not take") {
  const auto global = options_of({});
  for (const std::string& command : commands()) {
    CAPTURE(command);
    auto known = all_options_of(command);
    known.insert(known.end(), global.begin(), global.end());
    for (const std::string& line : lines_of(read_file(docs / (command + ".md")))) {
      if (!line.starts_with("| `--")) continue;
      const std::string name = line.substr(3, line.find('`', 3) - 3);
      const bool taken = std::any_of(known.begin(), known.end(), [&](const HelpOption& option) {
        return std::find(option.names.begin(), option.names.end(), name) != option.names.end();
      });
      CHECK_MESSAGE(taken, name);
    }
  }
}

TEST_CASE("[docs] the options of every command are in docs/analyze.md") {
  const auto global = options_of({});
  REQUIRE(global.size() >= 6);
  check_options(read_file(docs / "analyze.md"), global);
}

namespace {

/// What a page must name: all that these runs, in one folder, put out. The last one is looked at.
struct Documented {
  const char* command;
  std::vector<std::vector<std::string>> runs;
  size_t figures = 0, tables = 0, arrays = 0;  ///< at least
};

std::vector<Documented> documented() {
  return {
      {"analyze", {{"analyze", "--seq-len", "80", "--generate", "5"}}, 19, 11, 20},
      {"sinks",
       {{"sinks", "--seq-len", "80", "--evaluate-reuse", "--reuse-repeats", "1", "--all-maps"}},
       15,
       10,
       15},
      {"analyze", {{"analyze", "--samples", "0-2", "--seq-len", "80", "--generate", "5"}}, 3, 12, 0},
      {"sinks", {{"sinks", "--synthetic", "llama-3.1-8b"}}, 9, 5, 10},
      {"compare",
       {{"sinks", "--seq-len", "80", "--metric", "share0", "--no-plots", "--out", "a"},
        {"sinks", "--synthetic", "llama-3.1-8b", "--no-plots", "--out", "b"},
        {"compare", "a/results/sinks.json", "b/results/sinks.json", "--tolerance", "*=ignore"}},
       1,
       3,
       0},
      {"simulate",
       {{"simulate", "--samples", "0-1", "--policies", "streaming_llm,adakv", "--budget", "0.25", "--needle",
         "The secret number is seven.", "--question", "The secret number is", "--generate", "4", "--target",
         "kl<0.5", "--eviction-log"}},
       11,
       9,
       3},
      {"compress", {{"compress", "--samples", "0-1", "--method", "kivi:4,svd:0.5"}}, 2, 3, 0},
      {"prune", {{"prune", "--samples", "0-1", "--tokens", "0-3", "--decode-steps", "4"}}, 2, 2, 0},
      {"prune", {{"prune", "--samples", "0", "--sweep", "layers"}}, 3, 2, 0},
      {"prune", {{"prune", "--samples", "0", "--sweep", "heads"}}, 3, 2, 0},
      {"prune", {{"prune", "--samples", "0", "--sweep", "channels", "--channel-block", "8"}}, 3, 2, 0},
      {"tucker", {{"tucker", "--samples", "0-1", "--sweep"}}, 5, 6, 14},
      {"analyze_similarity", {{"analyze_similarity", "--seq-len", "80"}}, 9, 8, 17},
      {"analyze_generation",
       {{"analyze_generation", "--seq-len", "40", "--generate", "6", "--policy", "h2o"}},
       4,
       5,
       1},
      {"analyze_similarity", {{"analyze_similarity", "--samples", "0-2", "--seq-len", "80"}}, 3, 10, 0},
      {"analyze_generation",
       {{"analyze_generation", "--samples", "0-2", "--seq-len", "40", "--generate", "6", "--policy", "h2o"}},
       3,
       7,
       0},
      {"simulate", {{"simulate", "--mode", "oneshot", "--samples", "0"}}, 0, 2, 0}};
}

/// By itself, or by what a page says of all names with something behind them: `*_sd`.
bool is_named(const std::string& page, const std::string& name) {
  if (page.find(code(name)) != std::string::npos) return true;
  const size_t end = name.rfind('_');
  return end != std::string::npos && page.find(code('*' + name.substr(end))) != std::string::npos &&
         page.find(code(name.substr(0, end))) != std::string::npos;
}

/// A joined table is described once for all.
bool is_joined(const std::string& table) {
  return table.starts_with("comparison_");
}

}  // namespace

TEST_CASE("[docs] pages name every figure, table, column, array and number of the summary") {
  for (const Documented& one : documented()) {
    CAPTURE(one.command);
    const test::TemporaryFolder folder;
    std::string out;
    for (auto arguments : one.runs) {
      CAPTURE(arguments.size());
      arguments.insert(arguments.end(), {"--json", "-"});
      const auto run = run_kvviz(arguments, folder.path());
      REQUIRE_MESSAGE(run.code == 0, run.err);
      out = run.out;
    }
    const auto result = nlohmann::json::parse(out);
    const std::string page = read_file(docs / (std::string(one.command) + ".md"));
    const auto named = [&](const std::string& name) { CHECK_MESSAGE(is_named(page, name), name); };
    CHECK(result["figures"].size() >= one.figures);
    for (const auto& figure : result["figures"]) {
      const fs::path path = fs::path(figure["path"].get<std::string>()).lexically_relative("graphs");
      CHECK_MESSAGE(
          page.find("\n| " + code((path.parent_path() / path.stem()).string()) + " |") != std::string::npos,
          path.string());
    }
    CHECK(result["tables"].size() >= one.tables);
    for (const auto& [table, content] : result["tables"].items()) {
      if (is_joined(table)) continue;
      CAPTURE(table);
      CHECK_MESSAGE(page.find("\n| " + code(table) + " |") != std::string::npos, table);
      for (const auto& column : content["columns"]) named(column["name"]);
    }
    for (const auto& [name, value] : result["summary"].items()) named(name);
    if (one.arrays == 0) continue;
    const auto arrays = io::list_arrays(folder.path() / "results" / (std::string(one.command) + ".h5"));
    CHECK(arrays.size() >= one.arrays);
    for (std::string array : arrays) {
      const size_t stem = array.find_last_not_of("0123456789");
      if (stem + 1 < array.size()) array.replace(stem + 1, std::string::npos, "0");  // one per layer
      named(array);
    }
  }
}

TEST_CASE("[docs] every link between the pages leads to a file") {
  for (const auto& entry : fs::directory_iterator(docs)) {
    const std::string page = read_file(entry.path());
    CAPTURE(entry.path().string());
    for (size_t at = page.find("]("); at != std::string::npos; at = page.find("](", at + 1)) {
      const std::string target = page.substr(at + 2, page.find_first_of(")#", at + 2) - at - 2);
      if (target.empty() || target.starts_with("http")) continue;
      if (target.find(' ') != std::string::npos) continue;  // a lambda of an example
      CHECK_MESSAGE(fs::exists(docs / target), target);
    }
  }
}
