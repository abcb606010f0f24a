// SPDX-License-Identifier: MIT
#include "kvviz/report/result.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <locale>
#include <sstream>
#include <stdexcept>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/report/console.hpp"
#include "kvviz/report/gate.hpp"
#include "unit/report/example_result.hpp"

namespace kvviz {
namespace {
namespace fs = std::filesystem;
using test::example_result;
using test::holds;
using test::message_of;

// Written out by hand: the file's form is a promise.
const std::string golden = R"({
  "schema": 1,
  "command": "analyze",
  "provenance": {
    "version": "0.1.0",
    "options": {
      "seed": 1,
      "focus": ["layers","heads"]
    },
    "scale": 0.1
  },
  "summary": {"sink_rate":0.35,"tokens":512,"entropy":null,"spread":null,"model":"demo"},
  "summary_about": {
    "sink_rate": {"label":"Heads that look at the first token","unit":""},
    "tokens": {"label":"Length","unit":"tokens"},
    "entropy": {"label":"Mean entropy","unit":"nats"},
    "spread": {"label":"Spread","unit":""},
    "model": {"label":"Model","unit":""}
  },
  "nulls": [
    {"path":"summary.entropy","reason":"one token only"},
    {"path":"summary.spread","reason":"infinite"}
  ],
  "tables": {
    "layers": {
      "key": ["layer"],
      "columns": [
        {"name":"layer","unit":"","type":"integer"},
        {"name":"hoyer_k","unit":"","type":"real"},
        {"name":"kind","unit":"","type":"text"}
      ],
      "rows": [
        {"layer":0,"hoyer_k":0.25,"kind":"local"},
        {"layer":1,"hoyer_k":0.5,"kind":"sink"},
        {"layer":2,"hoyer_k":0.3,"kind":"a,\"b\"\n"}
      ],
      "nulls": []
    },
    "policies": {
      "key": ["policy","budget"],
      "columns": [
        {"name":"policy","unit":"","type":"text"},
        {"name":"budget","unit":"","type":"real"},
        {"name":"delta_ppl","unit":"","type":"real"},
        {"name":"recall","unit":"","type":"real"}
      ],
      "rows": [
        {"policy":"h2o","budget":0.25,"delta_ppl":0.73,"recall":0.9},
        {"policy":"h2o","budget":0.5,"delta_ppl":0.1,"recall":null},
        {"policy":"window","budget":0.25,"delta_ppl":4.5,"recall":null},
        {"policy":"snap@kv","budget":0.25,"delta_ppl":1.5,"recall":0.5}
      ],
      "nulls": [
        {"row":1,"column":"recall","reason":"not a number"},
        {"row":2,"column":"recall","reason":"no demand"}
      ]
    }
  },
  "figures": [
    {"path":"graphs/layers/layer_statistics.png","title":"Layers"}
  ],
  "arrays": "results/analyze.h5"
}
)";

TEST_CASE("[result] the file has its fixed form, is valid JSON and reads back") {
  const std::string text = to_json(example_result());
  CHECK(text == golden);
  CHECK(nlohmann::json::parse(text)["tables"]["layers"]["rows"][1]["hoyer_k"] == 0.5);
  CHECK(to_json(result_from_json(text, "a test")) == golden);
}

// "1.234,5"
struct GermanNumbers : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST_CASE("[result] the locale changes nothing") {
  const Result result = example_result();
  const std::string csv = to_csv(result.tables[1]);
  const std::string console = to_console(result.tables[1]);
  const std::locale old = std::locale::global(std::locale(std::locale::classic(), new GermanNumbers));
  std::ostringstream german;
  german << 1234.5;
  const std::string json_there = to_json(result);
  const std::string csv_there = to_csv(result.tables[1]);
  const std::string console_there = to_console(result.tables[1]);
  const GateOutcome gate = check_gate(parse_gate("tokens>0.5"), result);
  std::locale::global(old);
  REQUIRE(german.str() == "1.234,5");
  CHECK(json_there == golden);
  CHECK(csv_there == csv);
  CHECK(console_there == console);
  CHECK(gate.fired);
}

TEST_CASE("[result] numbers that are not finite and bytes that are not UTF-8 do not reach the file") {
  Result result{.command = "analyze", .summary = {}, .tables = {}, .figures = {}};
  result.provenance = {{"a", {1.0, std::nan("")}}, {"b", {{"c", -std::numeric_limits<double>::infinity()}}}};
  result.provenance["text"] = "\xE4";
  const auto json = nlohmann::json::parse(to_json(result));
  CHECK(json["provenance"]["a"][1].is_null());
  CHECK(json["provenance"]["b"]["c"].is_null());
  CHECK(json["nulls"][0]["path"] == "provenance.a.1");
  CHECK(json["nulls"][1]["reason"] == "infinite");
  CHECK(json["provenance"]["text"] == "\xEF\xBF\xBD");
  CHECK(json["arrays"].is_null());
}

TEST_CASE("[result] files are written under results/, CSV on request") {
  const fs::path folder = fs::temp_directory_path() / ("kvviz-report-test-" + std::to_string(getpid()));
  fs::remove_all(folder);
  CHECK(write_result(example_result(), folder) == std::vector<fs::path>{folder / "results/analyze.json"});
  CHECK(read_file(folder / "results/analyze.json") == golden);
  CHECK_FALSE(fs::exists(folder / "results/analyze"));
  const auto written = write_result(example_result(), folder, {.csv = true});
  CHECK(written.size() == 3);
  CHECK(read_file(folder / "results/analyze/layers.csv") == to_csv(test::layers_table()));
  CHECK(to_json(read_result(folder / "results/analyze.json")) == golden);
  fs::remove_all(folder);
  CHECK(message_of<DataError>([&] { read_result(folder / "results/analyze.json"); }) != "");
  CHECK(message_of<DataError>([&] { write_result(example_result(), "/proc/nowhere"); }) != "");
}

TEST_CASE("[result] what is not a result file is refused by name") {
  const auto refusal = [](const std::string& text) {
    return message_of<DataError>([&] { result_from_json(text, "r.json"); });
  };
  CHECK(holds(refusal("{"), "r.json is not a result file"));
  CHECK(holds(refusal("[]"), "no \"schema\""));
  CHECK(holds(refusal("{}"), "no \"schema\""));
  CHECK(holds(refusal(R"({"schema": 2})"), "got schema 2; this kvviz reads up to 1"));
  CHECK(holds(refusal(R"({"schema": 1})"), "r.json is not a result file"));
  for (size_t length = 0; length < golden.size() - 2; length += 7)
    CHECK(holds(refusal(golden.substr(0, length)), "r.json"));
}

TEST_CASE("[result] facts and tables are found by their names") {
  const Result result = test::example_result();
  CHECK(find_fact(result, "tokens") == &result.summary[1]);
  CHECK(find_fact(result, "layers") == nullptr);
  CHECK(find_table(result, "policies") == &result.tables[1]);
  CHECK(find_table(result, "tokens") == nullptr);
}

TEST_CASE("[result] repeated names are a bug of the result's maker") {
  Result result = example_result();
  result.tables.push_back(result.tables.front());
  CHECK(holds(message_of<std::logic_error>([&] { to_json(result); }), "two tables are named layers"));
  result = example_result();
  result.summary.push_back(result.summary.front());
  CHECK(holds(message_of<std::logic_error>([&] { to_json(result); }), "two facts are named sink_rate"));
}

}  // namespace
}  // namespace kvviz
