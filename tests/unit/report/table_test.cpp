// SPDX-License-Identifier: MIT
#include "kvviz/report/table.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvviz/core/error.hpp"
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

TEST_CASE("[table] equal numbers have one name in paths, whatever they are stored as") {
  CHECK(key_text(int64_t{100000}) == "100000");
  CHECK(key_text(100000.0) == "100000");
  CHECK(key_text(-1e15) == "-1000000000000000");
  CHECK(key_text(1e20) == "1e+20");
  CHECK(key_text(0.25) == "0.25");
  CHECK(key_text(1e-5) == "1e-05");
  CHECK(key_text("snap@kv") == "snap@kv");
  CHECK(key_text(Null{"none"}) == "null");
  CHECK(key_text(std::nan("")) == "null");
  const Table policies = test::policies_table();
  CHECK(row_label(policies, 1) == "h2o@0.5");
  CHECK(key_columns(policies) == std::vector<size_t>{0, 1});
  CHECK(column_of(policies, "recall") == 3);
  CHECK_FALSE(column_of(policies, "no"));
  CHECK(row_label({.name = "t", .columns = {{"x"}}, .key = {}, .rows = {{1.0}}}, 0).empty());
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

}  // namespace
}  // namespace kvviz
