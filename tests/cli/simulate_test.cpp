// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "cli/process.hpp"
#include "cli/results.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "kvviz/io/result_file.hpp"
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

json simulate(std::vector<std::string> arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), {"simulate", "--samples", "0-1", "--no-timings"});
  return test::result_of(arguments, folder);
}

json outcome(const json& result, const char* policy, const char* budget) {
  return row(result, "simulate", {{"policy", policy}, {"budget", budget}});
}

std::string refused(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "simulate");
  return test::refused(arguments, 2);
}

}  // namespace

TEST_CASE("[simulate] every policy and budget of two samples: what must hold of the numbers") {
  const test::TemporaryFolder folder;
  const json result = simulate({"--policies", "all", "--budget", "0.1,64,0.5"}, folder.path());
  REQUIRE(result["tables"]["simulate"]["rows"].size() == 1 + 17 * 3);
  const json full = outcome(result, "full", "1.0");
  for (const char* loss : {"delta_nll", "delta_ppl", "kl", "output_error", "evictions"})
    CHECK(number(full, loss) == 0);
  for (const char* share : {"recall", "top1_agreement", "demand_hit_rate", "sink_recall", "heavy_recall"})
    CHECK(number(full, share) == doctest::Approx(1));
  CHECK(full["logical_bytes"] == full["full_bytes"]);
  for (const json& one : result["tables"]["simulate"]["rows"]) {
    CAPTURE(one["policy"]);
    CAPTURE(one["budget"]);
    CHECK(number(one, "recall") <= number(one, "bound") + 1e-5);
    CHECK(number(one, "kl") >= 0);
    CHECK(number(one, "delta_ppl") == doctest::Approx(number(one, "ppl") - number(full, "ppl")));
    CHECK(number(one, "ppl") == doctest::Approx(std::exp(number(one, "nll"))));
  }
  for (const json& one : result["tables"]["simulate_counters"]["rows"]) {
    CHECK(one["processed"] == 1024);
    CHECK(number(one, "hits") + number(one, "misses") == number(one, "demands"));
  }
  for (const json& one : result["tables"]["simulate_heads"]["rows"])
    CHECK(number(one, "recall") <= number(one, "bound") + 1e-5);
  const json window = outcome(result, "window", "64");
  CHECK(window["evictions"] == 16 * (512 - 64));
  CHECK(window["final_entries"] == 64);
  CHECK(window["peak_entries"] == 65);
  CHECK(window["logical_bytes"] == 16 * 64 * 2 * 16 * 4);
  CHECK(number(outcome(result, "h2o", "64"), "metadata_bytes") == 16 * 64 * 12);
  CHECK(outcome(result, "h2o:mask", "64")["resident_bytes"] > outcome(result, "h2o", "64")["resident_bytes"]);
}

TEST_CASE("[simulate] the shipped model cannot do without its sinks") {
  const test::TemporaryFolder folder;
  const json result = simulate(
      {"--policies", "window,streaming_llm,oracle,h2o,lru,tova,snapkv", "--budget", "0.25"}, folder.path());
  const json window = outcome(result, "window", "0.25"), streaming = outcome(result, "streaming_llm", "0.25");
  CHECK(number(window, "delta_nll") > 20 * number(streaming, "delta_nll"));
  CHECK(number(window, "sink_recall") < 0.5);
  CHECK(number(streaming, "sink_recall") > 0.9);
  for (const char* policy : {"window", "streaming_llm", "h2o", "lru", "tova", "snapkv"})
    CHECK(number(outcome(result, policy, "0.25"), "recall") <
          number(outcome(result, "oracle", "0.25"), "recall"));
}

TEST_CASE("[simulate] streaming_llm without sinks is window; a budget of everything is full") {
  const test::TemporaryFolder folder;
  const json bare =
      simulate({"--policies", "window,streaming_llm", "--budget", "100", "--sinks", "0"}, folder.path());
  json window = outcome(bare, "window", "100"), streaming = outcome(bare, "streaming_llm", "100");
  window.erase("policy");
  streaming.erase("policy");
  for (json* one : {&window, &streaming}) one->erase("on_frontier");
  CHECK(window == streaming);
  const json whole =
      simulate({"--policies", "h2o,snapkv,adakv,keydiff,lagkv", "--budget", "1.0,512"}, folder.path());
  for (const json& one : whole["tables"]["simulate"]["rows"]) {
    CHECK(number(one, "delta_nll") == 0);
    CHECK(number(one, "kl") == 0);
    CHECK(number(one, "output_error") == 0);
  }
}

TEST_CASE("[simulate] the sum over the query heads of a KV head decides as their mean") {
  const test::TemporaryFolder folder;
  const auto run = [&](const char* how) {
    return test::result_of({"simulate", "--samples", "0", "--seq-len", "200", "--policies",
                            "lru,snapkv,window", "--budget", "40", "--no-timings", "--gqa-agg", how},
                           folder.path());
  };
  const json mean = run("mean"), sum = run("sum"), most = run("max");
  CHECK(sum["tables"] == mean["tables"]);
  CHECK(most["tables"] != mean["tables"]);
}

TEST_CASE("[simulate] two runs and any number of threads give the same bytes") {
  const test::TemporaryFolder folder;
  const auto bytes = [&](const char* threads) {
    return run_kvviz({"--threads", threads, "simulate", "--samples", "0", "--policies", "all", "--budget",
                      "0.2", "--no-timings", "--no-plots", "--json", "-"},
                     folder.path())
        .out;
  };
  json first = json::parse(bytes("2")), second = json::parse(bytes("2")), third = json::parse(bytes("3"));
  CHECK(first.dump() == second.dump());
  for (json* one : {&first, &third}) one->erase("provenance");
  CHECK(first.dump() == third.dump());
}

TEST_CASE("[simulate] the eviction log, and the access that profile reads") {
  const test::TemporaryFolder folder;
  const json result =
      simulate({"--policies", "streaming_llm,h2o", "--budget", "100", "--eviction-log"}, folder.path());
  const fs::path file = folder / "results/simulate.h5";
  const auto log = io::read_array(file, "evictions");
  REQUIRE(log.shape == std::vector<int64_t>{2 * 2 * 16 * 412, 7});
  const auto& rows = std::get<std::vector<int32_t>>(log.values);
  // streaming_llm: step 100 has 101 keys; the first behind the 4 sinks leaves, and so on.
  for (int64_t i = 0; i < 412; ++i) {
    CHECK(rows[i * 7] == 0);
    CHECK(rows[i * 7 + 5] == 100 + i);
    CHECK(rows[i * 7 + 6] == 4 + i);
  }
  CHECK(io::read_array(file, "access/attention_mass").shape == std::vector<int64_t>{4, 4, 512});
  const auto profile = run_kvviz({"profile", "--access", "results/simulate.h5", "--no-plots"}, folder.path());
  CHECK_MESSAGE(profile.code == 0, profile.err);
}

TEST_CASE("[simulate] a target is met by the budget found, and missed by one key fewer") {
  const test::TemporaryFolder folder;
  const json search = simulate({"--policies", "streaming_llm,window", "--budget", "0.5", "--target",
                                "delta_ppl<3%", "--no-recall", "--score-from", "256"},
                               folder.path());
  const json found = row(search, "targets", {{"policy", "streaming_llm"}});
  const int budget = static_cast<int>(number(found, "budget_tokens"));
  CHECK(number(found, "value") < 3);
  CHECK(number(found, "next_value") >= 3);
  CHECK(row(search, "targets", {{"policy", "window"}})["budget_tokens"].is_null());
  const std::string both = std::to_string(budget) + "," + std::to_string(budget - 1);
  const json again = simulate(
      {"--policies", "streaming_llm", "--budget", both, "--no-recall", "--score-from", "256"}, folder.path());
  const double full = number(again["summary"], "full_ppl");
  const auto percent = [&](int at) {
    return 100 * number(outcome(again, "streaming_llm", std::to_string(at).c_str()), "delta_ppl") / full;
  };
  CHECK(percent(budget) == doctest::Approx(number(found, "value")));
  CHECK(percent(budget - 1) == doctest::Approx(number(found, "next_value")));
}

TEST_CASE("[simulate] budgets of layers and heads go out as a table and come in as one") {
  const test::TemporaryFolder folder;
  const json pyramid =
      simulate({"--policies", "pyramidkv", "--budget", "100", "--observation", "16"}, folder.path());
  const fs::path table = folder / "results/budgets_pyramidkv_100.tsv";
  REQUIRE(fs::exists(table));
  const json again =
      simulate({"--policies", "streaming_llm", "--budget-table", table.string()}, folder.path());
  const auto& theirs = pyramid["tables"]["simulate_sets"]["rows"];
  const auto& ours = again["tables"]["simulate_sets"]["rows"];
  REQUIRE(theirs.size() == 16);
  REQUIRE(ours.size() == 16);
  for (size_t i = 0; i < ours.size(); ++i) {
    CHECK(ours[i]["budget_keys"] == theirs[i]["budget_keys"]);
    CHECK(ours[i]["final_entries"] == theirs[i]["final_entries"]);
  }
  CHECK(number(ours.front(), "budget_keys") > number(ours.back(), "budget_keys"));
}

TEST_CASE("[simulate] a needle hidden, and one that is in the text") {
  const test::TemporaryFolder folder;
  const json hidden = simulate(
      {"--policies", "full,streaming_llm", "--budget", "64", "--needle", "The secret number is seven.",
       "--question", "The secret number is", "--depths", "0.1,1", "--lengths", "300"},
      folder.path());
  const auto cell = [&](const json& result, const char* policy, double depth) {
    return row(result, "needle", {{"policy", policy}, {"depth", depth}});
  };
  const json full = cell(hidden, "full", 1);
  CHECK(full["survival"] == 1);
  CHECK(full["log_p"] == full["log_p_full"]);
  CHECK(number(full, "log_p_full") > number(full, "log_p_absent") + 1);
  CHECK(cell(hidden, "streaming_llm", 0.1)["survival"] == 0);
  CHECK(cell(hidden, "streaming_llm", 1)["survival"] == 1);
  const json found =
      simulate({"--policies", "full,window", "--budget", "64", "--needle", "tower that carries a bright lamp",
                "--question", "The tower carries a bright", "--needle-place", "found"},
               folder.path());
  const auto& rows = found["tables"]["needle"]["rows"];
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["survival"] == 1);
  CHECK(rows[1]["survival"] == 0);
  CHECK(number(rows[0], "depth") < 0.1);
}

TEST_CASE("[simulate] policies continue the text; one that holds everything as the full cache does") {
  const test::TemporaryFolder folder;
  const json result =
      simulate({"--policies", "h2o,window,oracle", "--budget", "1.0,0.1", "--generate", "12"}, folder.path());
  const auto& rows = result["tables"]["generated"]["rows"];
  REQUIRE(rows.size() == 5);  // the oracle knows no future of what is not written
  const json full = row(result, "generated", {{"policy", "full"}});
  CHECK(full["equal"] == full["generated"]);
  CHECK(row(result, "generated", {{"policy", "h2o"}, {"budget", "1.0"}})["text"] == full["text"]);
  CHECK(number(row(result, "generated", {{"policy", "window"}, {"budget", "0.1"}}), "equal") < 12);
}

TEST_CASE("[simulate] one-shot masks of sinkvis") {
  const test::TemporaryFolder folder;
  const json result = simulate({"--mode", "oneshot"}, folder.path());
  CHECK(result["tables"]["oneshot"]["rows"].size() == 2 * 5);
  const auto positions = [&](const char* policy) {
    return row(result, "oneshot", {{"text", 0}, {"policy", policy}})["positions"];
  };
  CHECK(positions("full") == "0-511");
  CHECK(positions("window") == "256-511");
  CHECK(positions("streaming_llm") == "0-3, 260-511");
}

TEST_CASE("[simulate] positions in the cache, full prefill and query heads of their own") {
  const test::TemporaryFolder folder;
  const json original = simulate({"--policies", "streaming_llm", "--budget", "0.25"}, folder.path());
  const json cache =
      simulate({"--policies", "streaming_llm", "--budget", "0.25", "--positions", "cache"}, folder.path());
  CHECK(number(outcome(original, "streaming_llm", "0.25"), "nll") !=
        number(outcome(cache, "streaming_llm", "0.25"), "nll"));
  CHECK(outcome(original, "streaming_llm", "0.25")["evictions"] ==
        outcome(cache, "streaming_llm", "0.25")["evictions"]);
  const json prompt =
      simulate({"--policies", "snapkv", "--budget", "64", "--prefill", "full", "--prompt-tokens", "256"},
               folder.path());
  CHECK(prompt["summary"]["score_from"] == 256);
  CHECK(outcome(prompt, "snapkv", "64")["peak_entries"] == 256);
  CHECK(outcome(prompt, "snapkv", "64")["final_entries"] == 64);
  const json own = simulate({"--policies", "snapkv", "--budget", "64", "--per-query-head"}, folder.path());
  CHECK(own["tables"]["simulate_sets"]["rows"].size() == 32);
}

TEST_CASE("[simulate] a fraction has one spelling in columns, options and records") {
  const test::TemporaryFolder folder;
  const json result = simulate({"--policies", "window", "--budget", "5e-1,.25"}, folder.path());
  CHECK(result["provenance"]["options"]["budget"] == json({"0.5", "0.25"}));
  for (const char* budget : {"0.5", "0.25"}) CHECK(outcome(result, "window", budget)["evictions"] > 0);
  CHECK(number(row(result, "simulate_by_budget", {{"policy", "window"}}), "delta_ppl_0_5") > 0);
  const json resumed =
      simulate({"--policies", "window", "--budget", "0.50,25e-2", "--resume"}, folder.path());
  CHECK(resumed["tables"]["simulate"] == result["tables"]["simulate"]);
  CHECK(holds(refused({"--budget", "0.5,5e-1"}), "0.5 twice"));
}

TEST_CASE("[simulate] budgets of another text do not stay beside a result") {
  const test::TemporaryFolder folder;
  const fs::path table = folder / "results/budgets_adakv-h2o_0.25.tsv",
                 other = folder / "results/budgets.tsv";
  const auto run = [&](const char* policy, const char* budget, const char* text) {
    test::result_of({"simulate", "--policies", policy, "--budget", budget, "--samples", text, "--seq-len",
                     "200", "--no-timings"},
                    folder.path());
  };
  run("adakv:h2o", "0.25", "0");
  write_file(other, "not kvviz's\n");
  REQUIRE(fs::exists(table));
  run("window", "0.5", "0");  // of the same text
  CHECK(fs::exists(table));
  run("adakv:h2o", "0.25", "0");
  run("window", "0.5", "1");
  CHECK_FALSE(fs::exists(table));
  CHECK(fs::exists(other));
}

TEST_CASE("[simulate] a target out of reach is said on the console") {
  const test::TemporaryFolder folder;
  const auto done = run_kvviz({"simulate", "--policies", "window,tova", "--budget", "0.5", "--samples", "0",
                               "--seq-len", "64", "--target", "kl<0", "--no-timings", "--no-plots"},
                              folder.path());
  CHECK(done.code == 0);
  CHECK(holds(done.out, "No budget of up to half of the shortest text stays within kl<0 with window, tova"));
}

TEST_CASE("[simulate] the command line's mistakes") {
  const test::TemporaryFolder folder;
  write_file(folder / "short.tsv", "layer\tkv_head\tbudget\n0\t0\t5\n");
  write_file(folder / "wrong.tsv", "layer\tkv_head\tbudget\n9\t0\t5\n");
  write_file(folder / "zero.tsv", "layer\tkv_head\tbudget\n0\t0\t0\n");
  write_file(folder / "columns.tsv", "a\tb\n0\t0\n");
  const auto table = [&](const char* name) {
    return test::refused({"simulate", "--policies", "h2o", "--budget-table", (folder / name).string()}, 1);
  };
  CHECK(holds(table("short.tsv"), "no budget for layer 0, KV head 1"));
  CHECK(holds(table("wrong.tsv"), "the model has layers 0 to 3"));
  CHECK(holds(table("zero.tsv"), "expected at least 1 key"));
  CHECK(holds(table("columns.tsv"), "no column layer"));
  CHECK(holds(table("nothere.tsv"), "nothere.tsv is not a file"));
  for (const char* budget : {"0", "-3", "1.5", "0.0", "many"}) {
    CHECK(holds(refused({"--budget", budget}), std::string("got '") + budget));
    CHECK(holds(refused({"--budget", budget}), "1 is one token, 1.0 the whole text"));
  }
  const std::string unknown = refused({"--policies", "h3o"});
  for (const char* name : {"h3o", "streaming_llm", "h2o:fullrow", "expected_attention", "adakv:<policy>"})
    CHECK(holds(unknown, name));
  CHECK(holds(refused({"--policies", "streaming_llm", "--sinks", "40", "--budget", "32"}),
              "40 sinks do not fit in a budget of 32"));
  CHECK(holds(refused({"--policies", "h2o,h2o"}), "h2o twice"));
  // GPT-2 with any tokenizer, whose ids it may not have.
  fs::copy_file(KVVIZ_FIXTURES "/models/gpt2/config.json", folder / "config.json");
  for (const char* file : {"tokenizer.model", "tokenizer_config.json"})
    fs::copy_file(fs::path(KVVIZ_DATA) / "models/demo" / file, folder / file);
  write_file(folder / "ids.txt", "1 2 3 4 5");
  CHECK(holds(refused({"--model", folder.path().string(), "--tokens", (folder / "ids.txt").string(), "--bos",
                       "off", "--positions", "cache"}),
              "learned positions"));
  CHECK(holds(refused({"--budget", "24,24"}), "24 twice"));
  CHECK(holds(refused({"--target", "kl<1", "--budget-table", (folder / "zero.tsv").string()}),
              "takes no --budget-table"));
  CHECK(holds(refused({"--target", "delta_ppl>1"}), "delta_ppl<1%"));
  CHECK(holds(refused({"--prompt-tokens", "9"}), "--prefill full"));
  CHECK(holds(refused({"--score-from", "900"}), "leaves nothing"));
  CHECK(holds(refused({"--generate", "5000"}), "leaves no room"));
  CHECK(holds(refused({"--mode", "oneshot", "--eviction-log"}), "--mode oneshot"));
  CHECK(holds(refused({"--mode", "oneshot", "--policies", "snapkv"}), "window, streaming_llm"));
  CHECK(holds(refused({"--needle", "a secret"}), "--question"));
  CHECK(holds(refused({"--question", "what"}), "without --needle"));
  const std::vector<std::string> needle{"--needle", "The secret number is seven.", "--question",
                                        "What is it"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), needle.begin(), needle.end());
    return refused(more);
  };
  CHECK(holds(with({"--lengths", "5"}), "needle and question alone"));
  CHECK(holds(with({"--lengths", "3000"}), "has 512 tokens"));
  CHECK(holds(with({"--needle-place", "found"}), "is not in sample text 0"));
  CHECK(holds(with({"--needle-place", "found", "--depths", "0.5"}), "are for hide"));
}
