// SPDX-License-Identifier: MIT
#include "kvviz/report/result_record.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"

using namespace kvviz;
using nlohmann::json;

namespace {

Result a_result() {
  return {.command = "analyze",
          .summary = {{"perplexity", 0.1 + 0.2, "", "Perplexity"},
                      {"tokens", int64_t{9007199254740993}, "tokens", "Tokens"},
                      {"word", std::string("a \"b\"\n\xff"), "", "Not UTF-8"},
                      {"none", Null{"too short"}, "", ""},
                      {"infinite", std::numeric_limits<double>::infinity(), "", ""}},
          .tables = {{.name = "layers",
                      .columns = {{"layer", "", ColumnType::integer},
                                  {"k_rms", "", ColumnType::real},
                                  {"half", "", ColumnType::text}},
                      .key = {"layer"},
                      .rows = {{int64_t{0}, 1.0 / 3, std::string("key")},
                               {int64_t{1}, Null{"nothing varies"}, std::string("value")}}},
                     {.name = "no_rows", .columns = {{"x"}}, .key = {}, .rows = {}}},
          .figures = {{"graphs/x.png", "x"}},
          .arrays = "results/analyze.h5"};
}

}  // namespace

TEST_CASE("[result_record] summary and tables come back from CBOR with every bit, the rest is left out") {
  const Result before = a_result();
  const json record = json::from_cbor(json::to_cbor(to_record(before)));
  const Result after = result_from_record(record);
  CHECK(after.command == "analyze");
  REQUIRE(after.summary.size() == before.summary.size());
  for (size_t i = 0; i < 4; ++i) {
    CHECK(after.summary[i].key == before.summary[i].key);
    CHECK(after.summary[i].value == before.summary[i].value);
    CHECK(after.summary[i].unit == before.summary[i].unit);
    CHECK(after.summary[i].label == before.summary[i].label);
  }
  CHECK(after.summary[4].value == Cell(Null{"infinite"}));
  REQUIRE(after.tables.size() == 2);
  CHECK(after.tables[0].key == before.tables[0].key);
  CHECK(after.tables[0].rows == before.tables[0].rows);
  CHECK(after.tables[0].columns[1].type == ColumnType::real);
  CHECK(after.tables[1].rows.empty());
  CHECK(after.figures.empty());
  CHECK(after.arrays.empty());
  CHECK(to_record(after) == to_record(result_from_record(to_record(after))));
}

TEST_CASE("[result_record] what is not a record of a result is refused") {
  const json good = to_record(a_result());
  CHECK_THROWS_AS(result_from_record(json::array()), DataError);
  json bad = good;
  bad["tables"][0]["cells"].erase(0);
  CHECK_THROWS_AS(result_from_record(bad), DataError);
  bad = good;
  bad["tables"][0]["columns"][0][2] = 3;
  CHECK_THROWS_AS(result_from_record(bad), DataError);
  bad = good;
  bad["tables"][0]["cells"][0] = "a word in a column of numbers";
  CHECK_THROWS_AS(result_from_record(bad), DataError);
  bad = good;
  bad["summary"][0][1] = json::object();
  CHECK_THROWS_AS(result_from_record(bad), DataError);
}
