// SPDX-License-Identifier: MIT
#include "cli/results.hpp"

#include <doctest/doctest.h>

#include "cli/process.hpp"
#include "support/temporary_folder.hpp"

namespace kvviz::test {

using nlohmann::json;

json result_of(std::vector<std::string> arguments, const std::filesystem::path& folder) {
  arguments.insert(arguments.end(), {"--json", "-", "--no-plots"});
  const Finished run = run_kvviz(arguments, folder);
  REQUIRE_MESSAGE(run.code == 0, run.err);
  return json::parse(run.out);
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
