// SPDX-License-Identifier: MIT
#include "kvviz/report/console.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "unit/report/example_result.hpp"

namespace kvviz {
namespace {
using test::holds;
using test::layers_table;
using test::policies_table;

TEST_CASE("[console] columns are aligned, numbers share their decimals") {
  CHECK(to_console(layers_table()) ==
        "layers\n"
        "layer  hoyer_k  kind\n"
        "    0   0.2500  local\n"
        "    1   0.5000  sink\n"
        "    2   0.3000  a,\"b\"\\n\n");
  CHECK(to_console(policies_table()) ==
        "policies\n"
        "policy   budget  delta_ppl  recall\n"
        "h2o      0.2500      0.730  0.9000\n"
        "h2o      0.5000      0.100       -\n"
        "window   0.2500      4.500       -\n"
        "snap@kv  0.2500      1.500  0.5000\n");
}

TEST_CASE("[console] what does not fit is left out and counted; key columns stay") {
  CHECK(to_console(policies_table(), {.width = 25, .max_rows = 2}) ==
        "policies\n"
        "policy  budget  delta_ppl\n"
        "h2o     0.2500     0.7300\n"
        "h2o     0.5000     0.1000\n"
        "... 2 more rows\n"
        "... 1 more column in the\n"
        "    JSON result\n");
  CHECK(to_console(policies_table(), {.width = 18, .max_rows = 1, .all_columns = "results/x.json"}) ==
        "policies\n"
        "policy  budget\n"
        "h2o     0.2500\n"
        "... 3 more rows\n"
        "... 2 more columns\n"
        "    in results/x.json\n");
  CHECK(holds(to_console(policies_table(), {.width = 5}), "policy   budget\n"));
}

TEST_CASE(
    "[console] width counts character cells; control characters and bad bytes are spelt out; long text is "
    "cut") {
  const Table table{
      .name = "tokens",
      .columns = {{"text", "", ColumnType::text}, {"mass", "%"}},
      .key = {},
      .rows = {{"\xE6\x97\xA5\xE6\x9C\xAC", 1.0}, {"\xC3\xA9\x01\xFF", 2.0}, {std::string(60, 'x'), 3.0}}};
  CHECK(to_console(table) ==
        "tokens\n"
        "text                                      mass [%]\n"
        "\xE6\x97\xA5\xE6\x9C\xAC                                         1.000\n"
        "\xC3\xA9\\x01\xEF\xBF\xBD                                       2.000\n" +
            std::string(39, 'x') + "\xE2\x80\xA6     3.000\n");
}

TEST_CASE("[console] single values") {
  const auto shown = [](Cell cell) { return to_console(cell); };
  CHECK(shown(0.03125) == "0.03125");
  CHECK(shown(1234.56) == "1,235");
  CHECK(shown(1.25e-7) == "1.250e-07");
  CHECK(shown(0.0) == "0");
  CHECK(shown(-0.5) == "-0.5000");
  CHECK(shown(int64_t{12345678}) == "12,345,678");
  CHECK(shown(int64_t{-1234}) == "-1,234");
  CHECK(shown(int64_t{-123}) == "-123");
  CHECK(shown(Null{"one token"}) == "- (one token)");
  CHECK(shown(std::nan("")) == "- (not a number)");
  CHECK(summary_to_console(test::example_result()) ==
        "Heads that look at the first token  0.3500\n"
        "Length                              512 tokens\n"
        "Mean entropy                        - (one token only)\n"
        "Spread                              - (infinite)\n"
        "Model                               demo\n");
}

TEST_CASE("[console] a column has one format; what would be zero is a bound") {
  const auto column = [](std::vector<Cell> cells) {
    Table table{.name = "t", .columns = {{"x"}}, .key = {}, .rows = {}};
    for (Cell& cell : cells) table.rows.push_back({std::move(cell)});
    return to_console(table);
  };
  CHECK(column({350.2, 2.8, 0.1, 0.016, -0.0}) ==
        "t\n      x\n350.200\n  2.800\n  0.100\n  0.016\n  0.000\n");
  CHECK(column({0.0002, 0.3, 0.00021}) == "t\n       x\n0.000200\n0.300000\n0.000210\n");
  CHECK(column({12.5, 1e-9, -1e-9}) == "t\n     x\n 12.50\n <0.01\n>-0.01\n");
  CHECK(column({589824.0, 1024.0}) == "t\n      x\n589,824\n  1,024\n");
  CHECK(column({1000.0, 0.002, -0.0}) == "t\n        x\n1,000.000\n    0.002\n    0.000\n");
  CHECK(column({1000.0, 0.002, -0.0, 2e12}) == "t\n        x\n1.000e+03\n2.000e-03\n        0\n2.000e+12\n");
}

TEST_CASE("[console] one number far greater than the others does not take their decimals") {
  const Table table{.name = "t",
                    .columns = {{"x"}, {"y"}},
                    .key = {},
                    .rows = {{3848.7243, 0.1}, {7.184, 0.2}, {7.488, 123456789.0}, {-0.0036, 0.3}}};
  CHECK(to_console(table) ==
        "t\n"
        "         x                y\n"
        "3,848.7243            0.100\n"
        "    7.1840            0.200\n"
        "    7.4880  123,456,789.000\n"
        "   -0.0036            0.300\n");
}

TEST_CASE("[console] rows that are not shown do not choose the format") {
  const Table table{.name = "t", .columns = {{"x"}}, .key = {}, .rows = {{0.5}, {1e-5}, {2e12}}};
  CHECK(to_console(table, {.max_rows = 1}) == "t\n     x\n0.5000\n... 2 more rows\n");
}

TEST_CASE("[console] thousands are separated, but not in keys") {
  const Table table{.name = "t",
                    .columns = {{"length", "", ColumnType::integer}, {"bytes", "", ColumnType::integer}},
                    .key = {"length"},
                    .rows = {{int64_t{4096}, int64_t{589824}}, {int64_t{512}, int64_t{-1024}}}};
  CHECK(to_console(table) == "t\nlength    bytes\n  4096  589,824\n   512   -1,024\n");
}

TEST_CASE("[console] a column without a value in the shown rows is left out; a key is not") {
  const Table table{.name = "t",
                    .columns = {{"k"}, {"none"}, {"late"}, {"x"}},
                    .key = {"k"},
                    .rows = {{Null{"a"}, Null{"a"}, std::nan(""), 1.0}, {Null{"a"}, Null{"b"}, 2.0, 2.0}}};
  CHECK(to_console(table) ==
        "t\nk   late      x\n-      -  1.000\n-  2.000  2.000\n... 1 more column in the JSON result\n");
  CHECK(to_console(table, {.max_rows = 1}) ==
        "t\nk      x\n-  1.000\n... 1 more rows\n... 2 more columns in the JSON result\n");
  Table empty = table;
  empty.rows.clear();
  CHECK(to_console(empty) == "t\nk  none  late  x\n");
}

TEST_CASE("[console] a summary's text is whole: it goes on below itself") {
  Result result;
  const std::string method = "0:q8_0,1:kivi:4,2:h2o:0.25+q8_0,3:q4_0,4:q4_0,5:q4_0,6:q4_0";
  result.summary = {{"plan", method + " and " + method, "", "Plan"},
                    {"n", int64_t{1}, "tokens", "Length"},
                    {"t", 1.0, "ms", "Time"},
                    {"m", 2.0, "bits", "Code"},
                    {"b", 1.0, "bytes", "Row"}};
  CHECK(summary_to_console(result, 80) == "Plan    " + method + " and\n        " + method +
                                              "\n"
                                              "Length  1 token\n"
                                              "Time    1.000 ms\n"
                                              "Code    2.000 bits\n"
                                              "Row     1.000 byte\n");
  CHECK(summary_to_console(result, 10).starts_with("Plan    " + method + "\n        and\n        " + method));
}

TEST_CASE(
    "[console] a summary keeps to narrow terminals: a label without room for its value stands above it") {
  Result result;
  result.summary = {{"n", int64_t{1}, "tokens", "Length"},
                    {"s", 0.5, "", "Sink heads: share of query heads with alpha_1 > 0.3 at T = 64"}};
  CHECK(summary_to_console(result, 40) ==
        "Length  1 token\n"
        "Sink heads: share of query heads with\n"
        "  alpha_1 > 0.3 at T = 64\n"
        "        0.5000\n");
  CHECK(summary_to_console(result, 100).find("T = 64  0.5000\n") != std::string::npos);
}

TEST_CASE("[console] the width without a terminal is that of COLUMNS, 100 else") {
  const auto width_with = [](const char* columns) {
    setenv("COLUMNS", columns, 1);
    const int width = terminal_width(-1);
    unsetenv("COLUMNS");
    return width;
  };
  CHECK(width_with("72") == 72);
  for (const char* bad : {"", "0", "-5", "wide", "80x", "99999999999"}) CHECK(width_with(bad) == 100);
  CHECK(terminal_width(-1) == 100);
}

}  // namespace
}  // namespace kvviz
