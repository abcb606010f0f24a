// SPDX-License-Identifier: MIT
#include "kvviz/report/gate.hpp"

#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "unit/report/example_result.hpp"

namespace kvviz {
namespace {
using test::example_result;
using test::holds;
using test::message_of;

bool fires(const std::string& text) {
  return check_gate(parse_gate(text), example_result()).fired;
}
double value(const std::string& path) {
  return check_gate(parse_gate(path + ">0"), example_result()).value;
}
std::string usage(const std::string& text) {
  return message_of<UsageError>([&] { fires(text); });
}

TEST_CASE("[gate] every comparison, on both sides of its threshold and on it") {
  struct Case {
    std::string op;
    bool below, equal, above;  // value 0.35 against 0.34, 0.35, 0.36
  };
  for (const Case& c :
       {Case{">", true, false, false}, Case{">=", true, true, false}, Case{"<", false, false, true},
        Case{"<=", false, true, true}, Case{"==", false, true, false}, Case{"!=", true, false, true}}) {
    CAPTURE(c.op);
    CHECK(fires("sink_rate" + c.op + "0.34") == c.below);
    CHECK(fires("sink_rate" + c.op + "0.35") == c.equal);
    CHECK(fires(" sink_rate  " + c.op + " 0.36 ") == c.above);
  }
  CHECK(fires("tokens==512"));
  CHECK(fires("tokens<1e3"));
  CHECK(fires("sink_rate>-1"));
}

TEST_CASE("[gate] columns are aggregated, rows are named by their keys") {
  CHECK(value("layers.hoyer_k.max") == 0.5);
  CHECK(value("layers.hoyer_k.min") == 0.25);
  CHECK(value("layers.hoyer_k.sum") == 0.25 + 0.5 + 0.3);
  CHECK(value("layers.hoyer_k.mean") == (0.25 + 0.5 + 0.3) / 3);
  CHECK(value("hoyer_k.max") == 0.5);
  CHECK(value("layers.1.hoyer_k") == 0.5);
  CHECK(value("policies.h2o@0.25.delta_ppl") == 0.73);
  CHECK(value("h2o@0.25.delta_ppl") == 0.73);
  CHECK(value("h2o@0.250.delta_ppl") == 0.73);
  CHECK(value("h2o@0.5.delta_ppl") == 0.1);
  CHECK(value("h2o.delta_ppl.max") == 0.73);
  CHECK(value("window.delta_ppl") == 4.5);
  CHECK(value("snap@kv@0.25.recall") == 0.5);
  CHECK(fires("h2o@0.25.delta_ppl>0.5"));
  CHECK_FALSE(fires("h2o@0.25.delta_ppl>0.75"));
}

TEST_CASE("[gate] a row's key may hold spaces and any sign") {
  Result result;
  result.tables = {
      {.name = "compress",
       .columns = {{"method", "", ColumnType::text}, {"loss"}},
       .key = {"method"},
       .rows = {
           {"q8_0", 1.0}, {"streaming_llm:0.25 + q8_0", 2.0}, {"a|b@c:1.5", 3.0}, {"x<=3 != y>2", 4.0}}}};
  const auto of = [&](const std::string& gate) { return check_gate(parse_gate(gate), result); };
  CHECK(of("compress.streaming_llm:0.25 + q8_0.loss>0.5").value == 2);
  CHECK(of("streaming_llm:0.25 + q8_0.loss > 1.5").fired);
  CHECK_FALSE(of("streaming_llm:0.25 + q8_0.loss >= 2.5").fired);
  CHECK(of("compress.a|b@c:1.5.loss==3").fired);
  CHECK(of("compress.x<=3 != y>2.loss<=4").fired);
  CHECK(of("  x<=3 != y>2.loss  !=  4 ").value == 4);
  CHECK_FALSE(of("x<=3 != y>2.loss!=4").fired);
  CHECK(holds(message_of<UsageError>([&] { of("streaming_llm:0.25 + q4_0.loss>0"); }),
              "has no streaming_llm:0.25 + q4_0.loss; nearest: streaming_llm:0.25 + q8_0.loss,"));
}

TEST_CASE("[gate] the message says what was found") {
  const GateOutcome outcome = check_gate(parse_gate("h2o@0.25.delta_ppl>0.5"), example_result());
  CHECK(outcome.message == "h2o@0.25.delta_ppl is 0.73: --fail-if h2o@0.25.delta_ppl>0.5");
}

TEST_CASE("[gate] syntax errors need no result") {
  const auto refusal = [](const std::string& text) {
    return message_of<UsageError>([&] { parse_gate(text); });
  };
  CHECK(holds(refusal("sink_rate"), "no comparison"));
  CHECK(holds(refusal(""), "no comparison"));
  CHECK(holds(refusal("sink_rate=0.3"), "got \"=\" as the comparison"));
  CHECK(holds(refusal("sink_rate!0.3"), "got \"!\" as the comparison"));
  CHECK(holds(refusal(">0.3"), "nothing before >"));
  CHECK(holds(refusal("sink_rate>>1"), "got \">>\" as the comparison"));
  CHECK(holds(refusal("sink_rate!>=1"), "got \"!>=\" as the comparison"));
  CHECK(holds(refusal("sink_rate=>1"), "got \"=>\" as the comparison"));
  for (const char* number : {"", "x", "0.3x", "nan", "inf", "0,3", "1 2", "1e999"}) {
    CAPTURE(number);
    CHECK(holds(refusal(std::string("sink_rate>") + number), "as the number; expected PATH OP NUMBER"));
  }
}

TEST_CASE("[gate] a path that names nothing lists the nearest names") {
  CHECK(holds(usage("sink_rat>0.3"), "the result has no sink_rat; nearest: sink_rate,"));
  CHECK(holds(usage("layers.hoyer.max>0.3"), "nearest: layers.hoyer_k.max,"));
  CHECK(holds(usage("h2o@0.2.delta_ppl>0"), "h2o@0.25.delta_ppl"));
  CHECK(holds(usage("layers.9.hoyer_k>0"), "the result has no layers.9.hoyer_k; nearest: layers.0.hoyer_k,"));
  CHECK(holds(usage("layers.1@2.hoyer_k>0"), "the result has no"));
  CHECK(holds(usage("layers>0"), "the result has no layers"));
  CHECK(holds(message_of<UsageError>([] { check_gate(parse_gate("a>0"), Result{}); }),
              "the result has no number"));
}

TEST_CASE("[gate] several rows need an aggregate; text and ambiguous names are refused") {
  CHECK(holds(usage("layers.hoyer_k>0"), "names 3 rows of table layers: add .min, .max, .mean or .sum"));
  CHECK(holds(usage("h2o.delta_ppl>0"), "names 2 rows"));
  CHECK(holds(usage("model>0"), "model is text"));
  CHECK(holds(usage("layers.1.kind>0"), "is text; expected a number"));
  Result twice = example_result();
  twice.tables.push_back(twice.tables.back());
  twice.tables.back().name = "others";
  CHECK(holds(message_of<UsageError>([&] { check_gate(parse_gate("h2o@0.25.delta_ppl>0"), twice); }),
              "is in several tables (policies, others)"));
  CHECK(check_gate(parse_gate("others.h2o@0.25.delta_ppl>0"), twice).value == 0.73);
}

TEST_CASE("[gate] a value that does not exist never passes a gate") {
  const auto refusal = [](const std::string& text) { return message_of<DataError>([&] { fires(text); }); };
  CHECK(holds(refusal("entropy>0"), "entropy has no value (one token only)"));
  CHECK(holds(refusal("spread<0"), "spread has no value (infinite)"));
  CHECK(holds(refusal("window@0.25.recall<1"), "has no value (no demand)"));
  CHECK(holds(refusal("policies.recall.min<1"), "policies row 1 column recall has no value (not a number)"));
  Result empty = example_result();
  empty.tables.front().rows.clear();
  CHECK(holds(message_of<DataError>([&] { check_gate(parse_gate("layers.hoyer_k.max>0"), empty); }),
              "has no rows"));
}

}  // namespace
}  // namespace kvviz
