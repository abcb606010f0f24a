// SPDX-License-Identifier: MIT
#include "kvviz/report/check.hpp"

#include <doctest/doctest.h>

#include "kvviz/report/annotations.hpp"
#include "kvviz/report/gate.hpp"
#include "kvviz/report/junit.hpp"
#include "unit/report/example_result.hpp"

namespace kvviz {
namespace {

const Check passed{.name = "p", .verdict = Verdict::passed, .message = "p holds"};
const Check failed{
    .name = "f", .verdict = Verdict::failed, .message = "f is 2", .details = "got: 2\nbound: 1"};
const Check no_value{.name = "v", .verdict = Verdict::no_value, .message = "v has no value"};
const Check no_name{.name = "n", .verdict = Verdict::no_name, .message = "no n"};

int code(std::vector<Check> checks) {
  return exit_code(checks);
}

TEST_CASE("[check] what could not be decided outweighs what failed, and that what passed") {
  CHECK(code({}) == 0);
  CHECK(code({passed}) == 0);
  CHECK(code({passed, failed}) == 4);
  CHECK(code({no_value, failed}) == 1);
  CHECK(code({failed, no_value, no_name}) == 2);
  const std::vector<Check> all{passed, failed, no_value};
  CHECK(to_console(all) ==
        "Checks: 1 of 3 failed, 1 could not be decided\n  passed     p holds\n  FAILED     f is 2\n"
        "  UNDECIDED  v has no value\n");
  CHECK(complaints(all) == "kvviz: failed: f is 2\nkvviz: v has no value\n");
  CHECK(to_console({}).empty());
  CHECK(complaints(std::vector{passed}).empty());
}

TEST_CASE("[check] a gate becomes a check with got, bound and expression") {
  const Result result = test::example_result();
  const Check fired = decide(parse_gate("layers.hoyer_k.max>0.4"), result);
  CHECK(fired.verdict == Verdict::failed);
  CHECK(fired.name == "layers.hoyer_k.max>0.4");
  CHECK(fired.message == "layers.hoyer_k.max is 0.5 (1): --fail-if layers.hoyer_k.max>0.4");
  CHECK(fired.details == "got: 0.5 (row 1)\nbound: fails if > 0.4\nexpression: layers.hoyer_k.max>0.4");
  CHECK(decide(parse_gate("layers.hoyer_k.mean>=0.4"), result).verdict == Verdict::passed);
  CHECK(decide(parse_gate("entropy>0"), result).verdict == Verdict::no_value);
  const Check nothing = decide(parse_gate("entropi>0"), result);
  CHECK(nothing.verdict == Verdict::no_name);
  CHECK(test::holds(nothing.message, "nearest: entropy"));
}

TEST_CASE("[check] as JUnit XML: counts, one testcase each, text escaped") {
  const CheckReport report{.command = "compress",
                           .checks = {passed, failed, no_value, no_name},
                           .properties = {{"model", "a<b>&\"c\"\n\t\x01\xFF\xC3\xA9"}}};
  CHECK(to_junit(report) == R"(<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="kvviz" tests="4" failures="1" errors="2" skipped="0" time="0">
  <testsuite name="kvviz compress" tests="4" failures="1" errors="2" skipped="0" time="0">
    <properties>
      <property name="model" value="a&lt;b&gt;&amp;&quot;c&quot;&#10;&#9;)"
                            "\xEF\xBF\xBD\xEF\xBF\xBD\xC3\xA9"
                            R"("/>
    </properties>
    <testcase classname="kvviz.compress" name="p" time="0">
      <system-out>p holds</system-out>
    </testcase>
    <testcase classname="kvviz.compress" name="f" time="0">
      <failure message="f is 2" type="failed">got: 2&#10;bound: 1</failure>
    </testcase>
    <testcase classname="kvviz.compress" name="v" time="0">
      <error message="v has no value" type="no value"></error>
    </testcase>
    <testcase classname="kvviz.compress" name="n" time="0">
      <error message="no n" type="no such name"></error>
    </testcase>
  </testsuite>
</testsuites>
)");
}

TEST_CASE("[check] the report of a run that has not ended is all errors") {
  const std::string xml =
      unfinished_junit({.command = "sinks", .checks = {passed, failed}, .properties = {}});
  CHECK(test::holds(xml, "tests=\"2\" failures=\"0\" errors=\"2\""));
  CHECK(test::holds(xml, "did not reach its end"));
  CHECK_FALSE(test::holds(xml, "p holds"));
}

TEST_CASE("[check] GitHub's annotations escape what its runner reads") {
  Check odd = failed;
  odd.name = "a:1,b%>2";
  const CheckReport report{.command = "prune", .checks = {passed, odd, no_value}, .properties = {}};
  CHECK(github_annotations(report) ==
        "::error title=kvviz prune%3A a%3A1%2Cb%25>2::f is 2%0Agot: 2%0Abound: 1\n"
        "::error title=kvviz prune%3A v::v has no value\n");
}

TEST_CASE("[gate] names are looked up before a run, numbers of the command line count as any") {
  const std::vector<std::string> names{"full_ppl", "kl", "delta_ppl_0_25", "smallest_1_percent",
                                       "max_context"};
  const auto known = [&](const char* text) { require_known(parse_gate(text), names); };
  for (const char* good : {"full_ppl>1", "kl.max>1", "compress.kivi:4.kl>1", "h2o.kl.mean>1", "max_context<2",
                           "by.h2o.delta_ppl_0_1>2", "h2o.delta_ppl_128>2", "smallest_0_1_percent>1"}) {
    CAPTURE(good);
    CHECK_NOTHROW(known(good));
  }
  const auto refusal = [&](const char* text) { return test::message_of<UsageError>([&] { known(text); }); };
  CHECK(test::holds(refusal("compress.kivi:4.kll>1"), "has no kll; did you mean kl?"));
  CHECK(test::holds(refusal("full_pl>1"), "did you mean full_ppl?"));
  CHECK(test::holds(refusal("k.max>1"), "has no k;"));
  CHECK(test::holds(refusal("max>1"), "has no max"));
  CHECK(test::holds(refusal("delta_ppl_x>1"), "has no delta_ppl_x"));
}

}  // namespace
}  // namespace kvviz
