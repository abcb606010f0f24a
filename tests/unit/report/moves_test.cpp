// SPDX-License-Identifier: MIT
#include "kvviz/report/moves.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "kvviz/report/gate.hpp"
#include "unit/report/example_result.hpp"

namespace kvviz {
namespace {
using test::holds;
using test::message_of;

Result baseline() {
  Result result{.command = "compress"};
  result.provenance = {{"version", "1"}, {"commit", "a"}, {"options", {{"windows", 1}, {"sides", "both"}}}};
  result.summary = {{"full_ppl", 40.0, "", ""},
                    {"best", std::string("kivi:4"), "", ""},
                    {"best_se", 1.0, "", ""},
                    {"absent", Null{"no RoPE"}, "", ""}};
  result.tables = {
      {.name = "compress",
       .columns = {{"method", "", ColumnType::text},
                   {"kl", "nats"},
                   {"kl_se", "nats"},
                   {"code_seconds", "s"},
                   {"family", "", ColumnType::text}},
       .key = {"method"},
       .rows = {{"kivi:4", 1.0, 0.1, 3.0, "kivi"}, {"q8_0", 0.0, 0.1, 4.0, "q8"}}},
      {.name = "heads",
       .columns = {{"layer", "", ColumnType::integer}, {"head", "", ColumnType::integer}, {"error"}},
       .key = {"layer", "head"},
       .rows = {{int64_t{0}, int64_t{0}, 0.5}, {int64_t{0}, int64_t{1}, 0.25}}}};
  return result;
}

std::vector<std::string> moved(const Result& a, const Result& b, const std::vector<std::string>& tolerances) {
  std::vector<std::string> paths;
  for (const MovedPart& part : moves_between(a, b, Tolerances(tolerances)))
    for (const Move& move : part.moves) paths.push_back(move.path + ": " + move.what);
  return paths;
}
using Paths = std::vector<std::string>;

TEST_CASE("[tolerance] bounds: absolute, relative, both; the limit itself passes, the next number does not") {
  const auto bound = [](const char* text) { return parse_tolerance(text).bound; };
  CHECK(bound("0.5").holds(1, 1.5));
  CHECK_FALSE(bound("0.5").holds(1, 1.5000001));
  CHECK(bound("0.5").holds(1, 0.5));
  CHECK(bound("1%").holds(1, 1.01));
  CHECK(bound("1%").holds(-1, -0.99));
  CHECK_FALSE(bound("1%").holds(1, 1.0101));
  CHECK_FALSE(bound("1%").holds(0, 1e-300));
  CHECK(bound("1e-3 + 1 %").holds(0, 1e-3));
  CHECK(bound("1%+1e+1").allowed(100) == 11);
  CHECK(bound("0").holds(0.1, 0.1));
  CHECK_FALSE(bound("0").holds(0.1, 0.1 + 1e-16));
  CHECK(bound("default").allowed(1) == doctest::Approx(0.0101));
  CHECK(bound("default").in_unit("%").allowed(1) == doctest::Approx(0.02));
  CHECK(bound("1e-4+1%").in_unit("%").allowed(1) == doctest::Approx(0.0101));
  CHECK(parse_tolerance("a=b.kl=ignore").pattern == "a=b.kl");
  CHECK(parse_tolerance("a=b.kl=ignore").bound.ignored);
  for (const char* wrong :
       {"", "x", "-1", "1%%", "1+2", "1%+2%", "1+", "inf", "nan", "kl=", "=1", "ignore", "1 2"}) {
    CAPTURE(wrong);
    CHECK(holds(message_of<UsageError>([&] { parse_tolerance(wrong); }), "expected [PATTERN=]BOUND"));
  }
}

TEST_CASE("[tolerance] patterns: * is any text, ? one character") {
  CHECK(matches("kl", "kl"));
  CHECK_FALSE(matches("kl", "kl_max"));
  CHECK(matches("*", ""));
  CHECK(matches("compress.*.kl", "compress.h2o:0.25 + q8_0.kl"));
  CHECK_FALSE(matches("compress.*.kl", "compress.kivi.kl_max"));
  CHECK(matches("a*b*c", "a__b_b__c"));
  CHECK_FALSE(matches("a*b*c", "a__c"));
  CHECK(matches("k?_se", "kl_se"));
  CHECK_FALSE(matches("?", ""));
}

TEST_CASE("[moves] the same result has not moved, whatever the order of its rows") {
  Result b = baseline();
  CHECK(moved(baseline(), b, {"0"}).empty());
  std::ranges::reverse(b.tables);
  for (Table& table : b.tables) std::ranges::reverse(table.rows);
  std::ranges::reverse(b.summary);
  CHECK(moved(baseline(), b, {"0"}).empty());
}

TEST_CASE("[moves] numbers beyond their bound, text that changed, nulls that come and go") {
  Result b = baseline();
  b.summary[0].value = 40.5;
  b.summary[1].value = std::string("q8_0");
  b.summary[3].value = 1.0;
  b.tables[0].rows[0][1] = 1.2;
  b.tables[0].rows[1][1] = Null{"not measured"};
  CHECK(moved(baseline(), b, {"1%"}) == Paths{"best: kivi:4 became q8_0", "absent: null in a (no RoPE)",
                                              "full_ppl: moved", "compress.q8_0.kl: null in b (not measured)",
                                              "compress.kivi:4.kl: moved"});
  CHECK(moved(baseline(), b, {"5%", "compress.*.kl=0.25", "best=ignore", "absent=ignore"}) ==
        Paths{"compress.q8_0.kl: null in b (not measured)"});
  CHECK(moved(b, baseline(), {"1%", "compress=ignore", "best=ignore"}) ==
        Paths{"absent: null in b (no RoPE)", "full_ppl: moved"});
}

TEST_CASE("[moves] times and standard errors are compared where a pattern names them") {
  Result b = baseline();
  b.summary[2].value = 9.0;
  for (auto& row : b.tables[0].rows) row[2] = row[3] = 9.0;
  CHECK(moved(baseline(), b, {"0"}).empty());
  CHECK(moved(baseline(), b, {"best_se=0"}) == Paths{"best_se: moved"});
  CHECK(moved(baseline(), b, {"compress.*_seconds=2"}) ==
        Paths{"compress.kivi:4.code_seconds: moved", "compress.q8_0.code_seconds: moved"});
}

TEST_CASE("[moves] what only one of them has is a difference") {
  Result b = baseline();
  b.summary.erase(b.summary.begin());
  b.summary.push_back({"extra", 1.0, "", ""});
  b.tables[0].rows.pop_back();
  b.tables[0].rows.push_back({"new", 0.0, 0.0, 0.0, "new"});
  b.tables[0].columns[4].name = "kind";
  b.tables.pop_back();
  b.tables.push_back({.name = "others", .columns = {{"x"}}});
  CHECK(moved(baseline(), b, {"50%"}) == Paths{"full_ppl: missing in b", "extra: only in b",
                                               "compress.family: missing in b", "compress.kind: only in b",
                                               "compress.q8_0: missing in b", "compress.new: only in b",
                                               "heads: missing in b", "others: only in b"});
  CHECK(moved(baseline(), b,
              {"summary=ignore", "family=ignore", "kind=ignore", "compress.new=ignore", "heads=ignore",
               "others=ignore"}) == Paths{"compress.q8_0: missing in b"});
  b = baseline();
  b.tables[1].key = {"layer"};
  CHECK(moved(baseline(), b, {"50%"}) == Paths{"heads: other key columns"});
}

TEST_CASE("[moves] rows of one name are compared in their order; rows without a name by their number") {
  Result a = baseline();
  a.tables = {{.name = "steps", .columns = {{"x"}}, .rows = {{1.0}, {2.0}}},
              {.name = "twice", .columns = {{"k"}, {"x"}}, .key = {"k"}, .rows = {{1.0, 5.0}, {1.0, 6.0}}}};
  Result b = a;
  CHECK(moved(a, b, {"0"}).empty());
  b.tables[0].rows[1][0] = 3.0;
  b.tables[1].rows.push_back({1.0, 7.0});
  CHECK(moved(a, b, {"0"}) == Paths{"steps.1.x: moved", "twice.1: only in b"});
}

TEST_CASE("[moves] the last pattern that matches decides, the bound without one is of the rest") {
  Result b = baseline();
  b.tables[0].rows[0][1] = 1.2;
  CHECK(moved(baseline(), b, {"kl=1", "compress.kivi:4.kl=0.1", "1"}).size() == 1);
  CHECK(moved(baseline(), b, {"compress.kivi:4.kl=0.1", "kl=1", "0"}).empty());
  CHECK(moved(baseline(), b, {"heads=0", "1"}).empty());
  CHECK(holds(message_of<UsageError>([&] {
                moved(baseline(), b, {"1%", "compress.kivi:5.kl=2%"});
              }),
              "--tolerance compress.kivi:5.kl=2%: nothing in these results is so named"));
}

TEST_CASE("[moves] the table has the worst first, the checks say what and how much") {
  Result b = baseline();
  b.summary[0].value = 44.0;
  b.tables[0].rows[0][1] = 2.0;
  b.tables[0].rows[1][1] = 0.5;
  b.tables[0].rows[1][4] = "x";
  const auto parts = moves_between(baseline(), b, Tolerances({"1%+0.01"}));
  const Table table = moves_table(parts);
  validate(table);
  std::vector<std::string> paths;
  for (const auto& row : table.rows) paths.push_back(std::get<std::string>(row[0]));
  CHECK(paths == Paths{"compress.q8_0.family", "compress.kivi:4.kl", "compress.q8_0.kl", "full_ppl"});
  CHECK(std::get<double>(table.rows[1][4]) == 1);
  CHECK(std::get<double>(table.rows[1][5]) == 100);
  CHECK(std::get<double>(table.rows[1][6]) == doctest::Approx(0.02));
  CHECK(reason_of(table.rows[2][5]) == "a is 0");
  const auto checks = checks_of(parts);
  REQUIRE(checks.size() == 3);
  CHECK(checks[0].verdict == Verdict::failed);
  CHECK(checks[0].name == "--tolerance summary");
  CHECK(checks[0].message ==
        "summary: 1 of 3 values moved more than tolerated; the worst: full_ppl: 40 -> 44 (allowed +-0.41)");
  CHECK(holds(checks[1].details, "compress.kivi:4.kl: 1 -> 2 (allowed +-0.02)\n"));
  CHECK(checks[2].verdict == Verdict::passed);
  CHECK(checks[2].message == "heads: nothing moved more than tolerated, of 2 values");
}

TEST_CASE("[moves] how the runs themselves differ") {
  Result b = baseline();
  CHECK(provenance_differences(baseline(), b).empty());
  b.provenance["commit"] = "b";
  CHECK(provenance_differences(baseline(), b).empty());
  b.provenance["version"] = "2";
  b.provenance["options"]["windows"] = 2;
  b.provenance["text_sha256"] = "x";
  CHECK(provenance_differences(baseline(), b) == "version, options.windows, text_sha256");
}

TEST_CASE("[moves] a row of a large number has the path that gates take") {
  Result a{.command = "profile"};
  a.tables = {{.name = "projection",
               .columns = {{"length", "", ColumnType::integer}, {"bytes", "bytes"}},
               .key = {"length"},
               .rows = {{int64_t{100000}, 1.0}}}};
  Result b = a;
  b.tables[0].rows[0][1] = 2.0;
  CHECK(check_gate(parse_gate("projection.100000.bytes>1"), b).fired);
  CHECK(moved(a, b, {}) == Paths{"projection.100000.bytes: moved"});
  CHECK(moved(a, b, {"projection.100000.*=ignore"}).empty());
}

}  // namespace
}  // namespace kvviz
