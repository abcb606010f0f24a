// SPDX-License-Identifier: MIT
#include "kvviz/report/table.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvviz/core/error.hpp"
#include "kvviz/report/console.hpp"
#include "unit/report/example_result.hpp"

namespace kvviz {
namespace {
using test::holds;
using test::layers_table;
using test::message_of;
using test::policies_table;

TEST_CASE("[table] CSV quotes what must be quoted and leaves out what does not exist") {
  CHECK(to_csv(layers_table()) == "layer,hoyer_k,kind\n0,0.25,local\n1,0.5,sink\n2,0.3,\"a,\"\"b\"\"\n\"\n");
  CHECK(to_csv(policies_table()) ==
        "policy,budget,delta_ppl,recall\nh2o,0.25,0.73,0.9\nh2o,0.5,0.1,\nwindow,0.25,4.5,\nsnap@kv,0.25,1.5,"
        "0.5\n");
}

TEST_CASE("[table] JSON keeps order, types and reasons, and reads back") {
  const Table table = policies_table();
  const auto json = to_json(table);
  CHECK(json.dump() ==
        R"({"key":["policy","budget"],"columns":[{"name":"policy","unit":"","type":"text"},)"
        R"({"name":"budget","unit":"","type":"real"},{"name":"delta_ppl","unit":"","type":"real"},)"
        R"({"name":"recall","unit":"","type":"real"}],"rows":[)"
        R"({"policy":"h2o","budget":0.25,"delta_ppl":0.73,"recall":0.9},)"
        R"({"policy":"h2o","budget":0.5,"delta_ppl":0.1,"recall":null},)"
        R"({"policy":"window","budget":0.25,"delta_ppl":4.5,"recall":null},)"
        R"({"policy":"snap@kv","budget":0.25,"delta_ppl":1.5,"recall":0.5}],)"
        R"("nulls":[{"row":1,"column":"recall","reason":"not a number"},)"
        R"({"row":2,"column":"recall","reason":"no demand"}]})");
  const Table back = table_from_json("policies", json, "a test");
  CHECK(to_json(back).dump() == json.dump());
  CHECK(back.rows[2][3] == Cell{Null{"no demand"}});
  CHECK(back.rows[0][2] == Cell{0.73});
}

TEST_CASE("[table] numbers read back to the same double") {
  CHECK(shortest(0.1) == "0.1");
  CHECK(shortest(1e-5) == "1e-05");
  CHECK(shortest(1.0 / 3) == "0.3333333333333333");
  CHECK(shortest(123456789012) == "123456789012");
  CHECK(shortest(5e-324) == "5e-324");
}

TEST_CASE("[table] a table that contradicts itself is a bug of its maker") {
  const auto bug = [](auto change) {
    Table table = layers_table();
    change(table);
    return message_of<std::logic_error>([&] { validate(table); });
  };
  CHECK(bug([](Table&) {}) == "");
  CHECK(bug([](Table& t) { t.rows[0][1] = int64_t{1}; }) == "");
  CHECK(holds(bug([](Table& t) { t.name = "a b"; }), "not a name"));
  CHECK(holds(bug([](Table& t) { t.columns[1].name = "h.k"; }), "is not a column name"));
  CHECK(holds(bug([](Table& t) { t.columns[1].name = "layer"; }), "two columns are named layer"));
  CHECK(holds(bug([](Table& t) { t.key = {"head"}; }), "the key head is not a column"));
  CHECK(holds(bug([](Table& t) { t.rows[1].pop_back(); }), "row 1 has 2 cells for 3 columns"));
  CHECK(holds(bug([](Table& t) { t.rows[1][0] = 1.5; }), "row 1: the cell of layer is not integer"));
  CHECK(holds(bug([](Table& t) { t.rows[1][2] = int64_t{1}; }), "the cell of kind is not text"));
  CHECK(holds(bug([](Table& t) { t.rows[1][1] = "x"; }), "the cell of hoyer_k is not real"));
}

TEST_CASE("[table] JSON that is not a table is refused by name") {
  const auto refusal = [](auto change) {
    auto json = to_json(layers_table());
    change(json);
    return message_of<DataError>([&] { table_from_json("layers", json, "r.json"); });
  };
  CHECK(refusal([](auto&) {}) == "");
  CHECK(holds(refusal([](auto& j) { j.erase("rows"); }), "r.json: table layers"));
  CHECK(holds(refusal([](auto& j) { j["columns"][0]["type"] = "date"; }), "got column type date"));
  CHECK(holds(refusal([](auto& j) { j["rows"][1]["layer"] = "x"; }),
              "row 1 column layer: got \"x\"; expected integer"));
  CHECK(holds(refusal([](auto& j) { j["rows"][1].erase("kind"); }), "r.json: table layers"));
  CHECK(holds(refusal([](auto& j) {
                j["nulls"] = {{{"row", 9}, {"column", "kind"}, {"reason", ""}}};
              }),
              "r.json"));
  CHECK(holds(refusal([](auto& j) {
                j["nulls"] = {{{"row", 0}, {"column", "no"}, {"reason", ""}}};
              }),
              "column no"));
  CHECK(holds(refusal([](auto& j) { j["key"] = {"no"}; }), "the key no is not a column"));
}

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

TEST_CASE("[console] what does not fit is left out and named; key columns stay") {
  CHECK(to_console(policies_table(), {.width = 25, .max_rows = 2}) ==
        "policies\n"
        "policy  budget  delta_ppl\n"
        "h2o     0.2500      0.730\n"
        "h2o     0.5000      0.100\n"
        "... 2 more rows\n"
        "not shown: recall\n");
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
  CHECK(shown(1234.56) == "1235");
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

TEST_CASE("[console] a small number beside a large one is not shown as zero") {
  const Table table{.name = "t", .columns = {{"x"}}, .key = {}, .rows = {{1000.0}, {0.002}, {-0.0}, {2e12}}};
  Table small = table;
  small.rows.pop_back();
  CHECK(to_console(small) == "t\n      x\n   1000\n2.0e-03\n      0\n");
  CHECK(to_console(table) == "t\n        x\n1.000e+03\n2.000e-03\n        0\n2.000e+12\n");
}

TEST_CASE("[console] one number far greater than the others does not take their decimals") {
  const Table table{.name = "t",
                    .columns = {{"x"}, {"y"}},
                    .key = {},
                    .rows = {{3848.7243, 0.1}, {7.184, 0.2}, {7.488, 123456789.0}, {-0.0036, 0.3}}};
  CHECK(to_console(table) ==
        "t\n"
        "       x          y\n"
        " 3848.72    1.0e-01\n"
        "    7.18    2.0e-01\n"
        "    7.49  123456789\n"
        "-3.6e-03    3.0e-01\n");
}

}  // namespace
}  // namespace kvviz
