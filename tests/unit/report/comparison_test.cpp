// SPDX-License-Identifier: MIT
#include "kvviz/report/comparison.hpp"

#include <doctest/doctest.h>

#include "support/errors.hpp"

using namespace kvviz;

namespace {

Result result_with(double rate, double error, const std::string& metric = "alpha") {
  Result result{.command = "sinks"};
  result.summary = {{"metric", metric, "", "Score"},
                    {"rate", rate, "", "Rate"},
                    {"rate_se", error, "", "error"},
                    {"phi", Null{"one layer"}, "", "Phi"}};
  return result;
}

Table table_of(std::vector<std::vector<Cell>> rows) {
  return {
      .name = "sweep", .columns = {{"threshold"}, {"rate"}}, .key = {"threshold"}, .rows = std::move(rows)};
}

}  // namespace

TEST_CASE("[comparison] facts stand side by side with their difference and its error") {
  const Table table = compare_summaries(result_with(0.5, 0.03), result_with(0.75, 0.04));
  REQUIRE(table.rows.size() == 2);
  CHECK(std::get<std::string>(table.rows[0][0]) == "rate");
  CHECK(std::get<double>(table.rows[0][3]) == doctest::Approx(0.25));
  CHECK(std::get<double>(table.rows[0][4]) == doctest::Approx(0.05));
  CHECK(reason_of(table.rows[1][1]) == "one layer");
  CHECK(std::holds_alternative<Null>(table.rows[1][3]));
  validate(table);
}

TEST_CASE("[comparison] different metrics or commands are refused") {
  const auto metrics =
      test::message_of<DataError>([] { require_comparable(result_with(0, 0), result_with(0, 0, "share0")); });
  CHECK(test::holds(metrics, "alpha and share0"));
  Result other = result_with(0, 0);
  other.command = "analyze";
  const auto commands = test::message_of<DataError>([&] { require_comparable(result_with(0, 0), other); });
  CHECK(test::holds(commands, "sinks and analyze"));
}

TEST_CASE("[comparison] rows of tables are joined by their key") {
  const Table a = table_of({{0.1, 1.0}, {0.3, 0.5}, {0.9, 0.0}});
  const Table b = table_of({{0.3, 0.25}, {0.1, Null{"none"}}});
  const Table joined = compare_tables(a, b);
  CHECK(joined.name == "comparison_sweep");
  REQUIRE(joined.rows.size() == 2);
  CHECK(std::get<double>(joined.rows[0][1]) == 1.0);
  CHECK(reason_of(joined.rows[0][2]) == "none");
  CHECK(std::get<double>(joined.rows[1][2]) == 0.25);
  validate(joined);
}
