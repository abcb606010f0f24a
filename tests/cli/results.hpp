// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace kvviz::test {

/// The result of `kvviz COMMAND ... --json - --no-plots`, run in `folder`. Fails the test when the run does.
nlohmann::json result_of(std::vector<std::string> arguments, const std::filesystem::path& folder);

/// The table's only row with these values. Fails the test when there is none.
nlohmann::json row(const nlohmann::json& result, const char* table, const nlohmann::json& key);

/// A number of a row.
double number(const nlohmann::json& row, const char* column);

/// The message of a run that ends with `code` and writes nothing.
std::string refused(const std::vector<std::string>& arguments, int code);

}  // namespace kvviz::test
