// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/process.hpp"
#include "cli/results.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::holds;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

json sinks(std::vector<std::string> arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), "sinks");
  return test::result_of(arguments, folder);
}

double fact(const json& result, const char* key) {
  return result.at("summary").at(key).get<double>();
}

std::string error_of(std::vector<std::string> arguments, int code) {
  arguments.insert(arguments.begin(), "sinks");
  return test::refused(arguments, code);
}

}  // namespace

TEST_CASE("[sinks] the rate agrees with that of analyze on the same text") {
  const test::TemporaryFolder folder;
  const json mine = sinks({"--samples", "2"}, folder.path());
  const auto run = run_kvviz({"analyze", "--focus", "attention", "--wikitext-index", "2", "--generate", "0",
                              "--json", "-", "--no-plots"},
                             folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  const json other = json::parse(run.out);
  CHECK(fact(mine, "sink_rate") == doctest::Approx(fact(other, "sink_rate")));
  CHECK(fact(mine, "score") == doctest::Approx(fact(other, "alpha_1")).epsilon(1e-6));
  CHECK(mine["tables"]["sink_heads"]["rows"].size() == other["tables"]["attention_heads"]["rows"].size());
}

TEST_CASE("[sinks] texts: all samples, a range, prompts with an empty line, probes") {
  const test::TemporaryFolder folder;
  CHECK(fact(sinks({"--seq-len", "70"}, folder.path()), "texts") == 8);
  CHECK(fact(sinks({"--samples", "1-3", "--seq-len", "70"}, folder.path()), "texts") == 3);
  std::ofstream(folder.path() / "prompts.txt") << "Hello world, it is late .\n\nThe lamp was lit .\n";
  const auto run =
      run_kvviz({"sinks", "--prompts", "prompts.txt", "--metric", "share0", "--no-plots"}, folder.path());
  CHECK(run.code == 0);
  CHECK(holds(run.err, "1 empty line skipped, 2 prompts"));
  std::ofstream(folder.path() / "prompts.jsonl") << R"({"text": "The lamp was lit ."})" << '\n';
  CHECK(fact(sinks({"--prompts", "prompts.jsonl", "--metric", "recent"}, folder.path()), "texts") == 1);
  const json probe = sinks({"--probe", "random", "--probe-count", "3"}, folder.path());
  CHECK(fact(probe, "texts") == 3);
  CHECK(fact(probe, "tokens_max") == 64);
}

TEST_CASE("[sinks] one repeated token without BOS has no sink: attention is uniform under RoPE") {
  const test::TemporaryFolder folder;
  const json result = sinks({"--probe", "repeated", "--probe-count", "2", "--bos", "off"}, folder.path());
  CHECK(fact(result, "sink_rate") == 0);
}

TEST_CASE("[sinks] what is wrong is said, with what was got and expected") {
  CHECK(holds(error_of({"--prompt", "Hello world"}, 1), "--tokens-per-sequence 64"));
  CHECK(holds(error_of({"--tokens-per-sequence", "1"}, 2), "2 or more"));
  CHECK(holds(error_of({"--sink-token", "65"}, 2), "1 to --tokens-per-sequence 64"));
  CHECK(holds(error_of({"--threshold", "1.5"}, 2), "between 0 and 1"));
  CHECK(holds(error_of({"--threshold", "0"}, 2), "between 0 and 1"));
  CHECK(holds(error_of({"--metric", "alfa"}, 2), "alpha, share0"));
  CHECK(holds(error_of({"--samples", "4-99"}, 1), "there are 8"));
  CHECK(holds(error_of({"--samples", "3-1"}, 2), "a range such as"));
  CHECK(holds(error_of({"--samples", "1", "--prompt", "x"}, 2), "give one"));
  CHECK(holds(error_of({"--lengths", "4096"}, 1), "the longest text has"));
  CHECK(holds(error_of({"--synthetic", "llama-3.1-8b", "--prompt", "x"}, 2), "takes no model, text"));
  CHECK(holds(error_of({"--num-layers", "3"}, 2), "without --synthetic"));
  CHECK(holds(error_of({"--synthetic", "llama-3.1-8b", "--num-layers", "0"}, 2), "numbers above 0"));
  CHECK(holds(error_of({"--synthetic", "llama-3.1-8b", "--sequence-lengths", "0,5"}, 2), "2 tokens or more"));
  CHECK(holds(error_of({"--reuse-repeats", "5"}, 2), "without --evaluate-reuse"));
  CHECK(holds(error_of({"--evaluate-reuse", "--reuse-layers", "2,9"}, 2), "0 to"));
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "empty.txt") << "\n\n";
  const auto run = run_kvviz({"sinks", "--prompts", "empty.txt"}, folder.path());
  CHECK(run.code == 1);
  CHECK(holds(run.err, "holds no prompt (2 lines, all empty)"));
}

TEST_CASE("[sinks] synthetic results say so, and a measured result can be imitated") {
  const test::TemporaryFolder folder;
  const json random = sinks({"--synthetic", "llama-3.1-8b", "--metric", "share0"}, folder.path());
  CHECK(holds(random["provenance"]["model"].get<std::string>(), "synthetic"));
  CHECK(holds(random["provenance"]["text"].get<std::string>(), "no model was run"));
  CHECK(fact(random, "heads") == 1024);
  CHECK(sinks({"--synthetic", "llama-3.1-8b", "--metric", "share0"}, folder.path())["summary"] ==
        random["summary"]);
  const json measured = sinks({}, folder.path());
  fs::rename(folder.path() / "results/sinks.h5", folder.path() / "measured.h5");
  const json fitted = sinks({"--synthetic-fit", "measured.h5"}, folder.path());
  CHECK(fact(fitted, "heads") == fact(measured, "heads"));
  CHECK(std::abs(fact(fitted, "sink_rate") - fact(measured, "sink_rate")) < 0.25);
}

TEST_CASE("[sinks] the word synthetic is in every output of random numbers, and of comparisons with them") {
  const test::TemporaryFolder folder;
  const auto says_so = [](const std::string& text) { return holds(text, "synthetic"); };
  const auto check_csv = [&](const fs::path& tables, size_t least) {
    size_t files = 0;
    for (const auto& entry : fs::directory_iterator(tables)) {
      CHECK_MESSAGE(says_so(read_file(entry.path())), entry.path().string());
      ++files;
    }
    CHECK(files >= least);
  };
  const auto run = run_kvviz(
      {"sinks", "--synthetic", "llama-3.1-8b", "--no-plots", "--csv", "--out", "random"}, folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  CHECK(says_so(run.out));
  CHECK(says_so(read_file(folder.path() / "random/results/sinks.json")));
  check_csv(folder.path() / "random/results/sinks", 5);
  sinks({"--samples", "0-1", "--metric", "share0", "--out", "measured"}, folder.path());
  const auto compared = run_kvviz(
      {"compare", "measured/results/sinks.json", "random/results/sinks.json", "--no-plots", "--csv"},
      folder.path());
  REQUIRE_MESSAGE(compared.code == 0, compared.err);
  CHECK(says_so(compared.out));
  CHECK(holds(compared.out, "share0"));
  const json result = json::parse(read_file(folder.path() / "results/compare.json"));
  CHECK_FALSE(result["summary"].contains("source_a"));
  CHECK(says_so(result["summary"]["source_b"].get<std::string>()));
  check_csv(folder.path() / "results/compare", 2);
}

TEST_CASE("[sinks] reuse: every substitute is judged and timed, the full run loses nothing") {
  const test::TemporaryFolder folder;
  const json result = sinks(
      {"--samples", "0-1", "--seq-len", "200", "--evaluate-reuse", "--threshold", "0.2"}, folder.path());
  const json& rows = result["tables"]["sink_reuse"]["rows"];
  REQUIRE(rows.size() == 3);
  CHECK(fact(result, "reuse_heads") > 0);
  for (const json& row : rows) {
    CHECK(row["kl"].get<double>() > 0);
    CHECK(row["ppl_full"].get<double>() == rows[0]["ppl_full"].get<double>());
  }
  REQUIRE(result["tables"]["sink_reuse_cost"]["rows"].size() == 3);
  for (const json& row : result["tables"]["sink_reuse_cost"]["rows"]) {
    CHECK(row["attention_flops_saved"].get<double>() > 0);
    CHECK(row["seconds"].get<double>() > 0);
  }
  const json none = sinks(
      {"--samples", "0-1", "--seq-len", "200", "--evaluate-reuse", "--threshold", "0.999"}, folder.path());
  CHECK(fact(none, "reuse_heads") == 0);
  CHECK(none["tables"]["sink_reuse"]["rows"][1]["kl"].get<double>() == 0);
}

TEST_CASE("[compare] two runs side by side; different metrics are refused") {
  const test::TemporaryFolder folder;
  const json a = sinks({"--seq-len", "80", "--out", "a"}, folder.path());
  const json b = sinks({"--seq-len", "100", "--threshold", "0.2", "--out", "b"}, folder.path());
  sinks({"--seq-len", "80", "--metric", "share0", "--out", "c"}, folder.path());
  const auto run =
      run_kvviz({"compare", "a/results/sinks.json", "b/results/sinks.json", "--json", "-"}, folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  CHECK(fs::exists(folder.path() / "graphs/sinks/sink_comparison.png"));
  const json result = json::parse(run.out);
  for (const json& row : result["tables"]["comparison"]["rows"]) {
    if (row["fact"] != "sink_rate") continue;
    CHECK(row["a"].get<double>() == fact(a, "sink_rate"));
    CHECK(row["b"].get<double>() == fact(b, "sink_rate"));
    CHECK(row["difference"].get<double>() == doctest::Approx(fact(b, "sink_rate") - fact(a, "sink_rate")));
  }
  CHECK(result["tables"].contains("comparison_sink_sweep"));
  CHECK(result["summary"]["metric"] == "alpha");
  CHECK_FALSE(result["summary"].contains("source_a"));
  const auto refused = run_kvviz({"compare", "a/results/sinks.json", "c/results/sinks.json"}, folder.path());
  CHECK(refused.code == 1);
  CHECK(holds(refused.err, "different metrics, alpha and share0"));
}

TEST_CASE("[sinks] the shipped model has what it is shipped for: heads that rest on the first token") {
  const test::TemporaryFolder folder;
  const json result = sinks({}, folder.path());
  CHECK(fact(result, "sink_rate") > 0.5);
  CHECK(fact(result, "correlation") > 0.9);
}
