// SPDX-License-Identifier: MIT
#include "cli/results.hpp"

#include <doctest/doctest.h>

#include <regex>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/report/gate.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::test {

using nlohmann::json;

namespace {

// A name that the page lacks is refused as a gate before a run.
void check_can_be_gated(const json& result) {
  const auto command = result.at("command").get<std::string>();
  const std::string page = read_file(KVVIZ_SOURCES "/docs/" + command + ".md");
  const std::regex in_backticks("`([A-Za-z][A-Za-z0-9_]*)`");
  std::vector<std::string> names;
  for (std::sregex_iterator at(page.begin(), page.end(), in_backticks); at != std::sregex_iterator(); ++at)
    names.push_back((*at)[1]);
  // `*_sd` stands for every name with that behind it.
  const std::regex of_all("`\\*(_[a-z]+)`");
  const std::vector<std::string> plain = names;
  for (std::sregex_iterator at(page.begin(), page.end(), of_all); at != std::sregex_iterator(); ++at)
    for (const std::string& name : plain) names.push_back(name + (*at)[1].str());
  const auto check = [&](const std::string& name) {
    CHECK_NOTHROW_MESSAGE(require_known(parse_gate(name + ">0"), names), command, ".md: ", name);
  };
  for (const auto& [fact, value] : result.at("summary").items()) check(fact);
  for (const auto& [table, content] : result.at("tables").items())
    for (const json& column : content.at("columns")) check(column.at("name").get<std::string>());
}

}  // namespace

json result_of(std::vector<std::string> arguments, const std::filesystem::path& folder) {
  arguments.insert(arguments.end(), {"--json", "-", "--no-plots"});
  const Finished run = run_kvviz(arguments, folder);
  REQUIRE_MESSAGE(run.code == 0, run.err);
  json result = json::parse(run.out);
  check_can_be_gated(result);
  return result;
}

json row(const json& result, const char* table, const json& key) {
  std::vector<json> rows;
  for (const json& one : result.at("tables").at(table).at("rows")) {
    bool same = true;
    for (const auto& [name, value] : key.items()) same = same && one.at(name) == value;
    if (same) rows.push_back(one);
  }
  REQUIRE_MESSAGE(rows.size() == 1, table, ' ', key.dump());
  return rows.front();
}

double number(const json& row, const char* column) {
  return row.at(column).get<double>();
}

std::string refused(const std::vector<std::string>& arguments, int code) {
  const TemporaryFolder folder;
  const Finished run = run_kvviz(arguments, folder.path());
  CHECK_MESSAGE(run.code == code, run.err);
  CHECK(run.out.empty());
  CHECK(std::filesystem::is_empty(folder.path()));
  return run.err;
}

}  // namespace kvviz::test
