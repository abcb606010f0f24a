// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>

#include "cli/process.hpp"
#include "cli/results.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::holds;
using test::number;
using test::row;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

json compress(std::vector<std::string> arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), {"compress", "--samples", "0-1", "--no-timings"});
  return test::result_of(arguments, folder);
}

json outcome(const json& result, const char* method) {
  return row(result, "compress", {{"method", method}});
}

std::string refused(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "compress");
  return test::refused(arguments, 2);
}

}  // namespace

TEST_CASE("[compress] f32 loses nothing, exactly; fewer bits lose more") {
  const test::TemporaryFolder folder;
  const json result = compress({"--method", "f32,f16,rtn_token:8,rtn_token:4,rtn_token:2"}, folder.path());
  const json exact = outcome(result, "f32");
  for (const char* loss : {"delta_nll", "delta_ppl", "kl", "key_error", "value_error", "output_error"})
    CHECK(number(exact, loss) == 0);
  CHECK(exact["top1_agreement"] == 1);
  CHECK(exact["ratio"] == 0.5);
  CHECK(outcome(result, "f16")["ratio"] == 1);
  CHECK(outcome(result, "f16")["bytes_per_token"] == 4 * 4 * 2 * 16 * 2);
  CHECK(result["summary"]["prefix"] == 256);
  CHECK(result["summary"]["predictions"] == 2 * 255);
  const char* fewer[] = {"f16", "rtn_token:8", "rtn_token:4", "rtn_token:2"};
  for (size_t i = 1; i < std::size(fewer); ++i)
    for (const char* error : {"key_error", "value_error", "output_error", "kl"})
      CHECK(number(outcome(result, fewer[i]), error) > number(outcome(result, fewer[i - 1]), error));
  // 8 bits an element, and two f16 for each head's token.
  CHECK(number(outcome(result, "rtn_token:8"), "payload_bytes") == 256 * 4 * 4 * 2 * 16);
  CHECK(number(outcome(result, "rtn_token:8"), "metadata_bytes") == 256 * 4 * 4 * 2 * 4);
  for (const json& one : result["tables"]["compress"]["rows"]) {
    CHECK(number(one, "ppl") == doctest::Approx(std::exp(number(one, "nll"))));
    CHECK(number(one, "delta_ppl_percent") ==
          doctest::Approx(100 * number(one, "delta_ppl") / number(result["summary"], "full_ppl")));
  }
}

TEST_CASE("[compress] keys alone and values alone; the other side is f16") {
  const test::TemporaryFolder folder;
  const json keys = compress({"--method", "q4_0", "--sides", "keys"}, folder.path());
  const json values = compress({"--method", "q4_0", "--sides", "values"}, folder.path());
  const json both = compress({"--method", "q4_0"}, folder.path());
  CHECK(number(outcome(keys, "q4_0"), "value_error") < 1e-3);
  CHECK(number(outcome(values, "q4_0"), "key_error") < 1e-3);
  CHECK(outcome(keys, "q4_0")["key_error"] == outcome(both, "q4_0")["key_error"]);
  CHECK(outcome(values, "q4_0")["value_error"] == outcome(both, "q4_0")["value_error"]);
  const double f16 = number(outcome(both, "q4_0"), "f16_bytes");
  const auto bytes = [](const json& r) {
    return number(outcome(r, "q4_0"), "payload_bytes") + number(outcome(r, "q4_0"), "metadata_bytes");
  };
  CHECK(bytes(keys) + bytes(values) == doctest::Approx(f16 + bytes(both)));
}

TEST_CASE("[compress] the sweep of all methods: a frontier that nothing beats, the same bytes twice") {
  const test::TemporaryFolder folder;
  const auto run = [&](const char* threads) {
    return run_kvviz({"--threads", threads, "compress", "--samples", "0", "--sweep", "--no-timings", "--json",
                      "-", "--no-plots"},
                     folder.path());
  };
  const auto first = run("2");
  REQUIRE_MESSAGE(first.code == 0, first.err);
  CHECK(run("2").out == first.out);
  json one = json::parse(first.out), three = json::parse(run("3").out);
  const auto& rows = one["tables"]["compress"]["rows"];
  CHECK(rows.size() > 30);
  for (const json& a : rows) {
    if (a["on_frontier"] != 1) continue;
    for (const json& b : rows)
      CHECK_FALSE((number(b, "bytes_per_token") < number(a, "bytes_per_token") &&
                   number(b, "delta_nll") <= number(a, "delta_nll")));
  }
  one.erase("provenance");
  three.erase("provenance");
  CHECK(one == three);
  const json few = compress({"--method", "kivi,q8_0", "--sweep"}, folder.path());
  CHECK(few["tables"]["compress"]["rows"].size() >= 4);
}

TEST_CASE("[compress] the command line's mistakes") {
  const std::string unknown = refused({"--method", "kivy:4"});
  for (const char* name : {"kivy:4", "kivi", "q8_0", "svd", "tucker"}) CHECK(holds(unknown, name));
  CHECK(holds(refused({"--method", "kivi:5"}), "kivi"));
  CHECK(holds(refused({"--method", "svd:2.5"}), "share"));
  CHECK(holds(refused({"--method", "q8_0:3"}), "no argument"));
  CHECK(holds(refused({"--method", "q8_0,q8_0"}), "twice"));
  CHECK(holds(refused({"--method", "kivi:4", "--sweep"}), "without arguments"));
  CHECK(holds(refused({"--method", "q8_0", "--prefix-tokens", "511"}), "leaves nothing to predict"));
  CHECK(holds(refused({"--sides", "queries"}), "keys"));
}
