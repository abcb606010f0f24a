// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "cli/batch_runs.hpp"
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

using Words = std::vector<std::string>;

/// `lines` lines of so many repetitions each.
void write_prompts(const fs::path& file, const std::vector<int>& repetitions) {
  std::ofstream out(file);
  for (const int count : repetitions) {
    for (int i = 0; i < count; ++i) out << "The lamp was lit , and the old keeper went up the stairs . ";
    out << '\n';
  }
}

}  // namespace

TEST_CASE("[simulate batch] workers, shards, merge and resume give the same bytes") {
  test::check_batch({"simulate", "--samples", "0-3", "--seq-len", "96", "--policies",
                     "full,h2o,pyramidkv,window", "--budget", "0.25,40", "--no-timings", "--eviction-log"});
}

TEST_CASE("[simulate batch] needle and generation of the first text go through the records") {
  test::check_batch({"simulate", "--samples", "0-2", "--seq-len", "120", "--policies", "full,streaming_llm",
                     "--budget", "32", "--no-timings", "--no-recall", "--generate", "6", "--needle",
                     "The secret number is seven.", "--question", "The secret number is", "--depths", "0.5"});
}

TEST_CASE("[simulate batch] oneshot masks") {
  test::check_batch({"simulate", "--samples", "0-2", "--seq-len", "80", "--mode", "oneshot"});
}

TEST_CASE("[simulate batch] a text that fails is named, and the rest goes on") {
  test::check_failing_text({"simulate", "--policies", "h2o", "--budget", "0.5", "--no-timings"});
  test::check_failing_text({"simulate", "--mode", "oneshot"});
}

TEST_CASE("[simulate batch] texts too short for the options fail; the first that is long enough is shown") {
  const test::TemporaryFolder folder;
  write_prompts(folder / "p.txt", {1, 8, 6});
  const Words run{"simulate", "--prompts",    "p.txt",        "--policies", "streaming_llm", "--budget",
                  "0.25",     "--no-timings", "--score-from", "50",         "--no-plots"};
  const json result = test::result_of(run, folder.path());
  CHECK(result["summary"]["texts"] == 2);
  CHECK(result["summary"]["texts_failed"] == 1);
  const json& failed = result["tables"]["failed_texts"]["rows"];
  REQUIRE(failed.size() == 1);
  CHECK(failed[0]["text"] == 0);
  CHECK(holds(failed[0]["reason"], "--score-from 50 leaves nothing"));
  const json& texts = result["tables"]["simulate_texts"]["rows"];
  REQUIRE(texts.size() == 2);
  CHECK(texts[0]["text"] == 1);
  const auto mass = io::read_array(folder / "results/simulate.h5", "access/attention_mass");
  CHECK(mass.shape.back() == texts[0]["tokens"]);
  const json prompt = test::result_of(
      {"simulate", "--prompts", "p.txt", "--policies", "snapkv", "--budget", "20", "--no-timings",
       "--score-from", "5", "--prefill", "full", "--prompt-tokens", "60", "--out", "prompt"},
      folder.path());
  CHECK(holds(prompt["tables"]["failed_texts"]["rows"][0]["reason"], "--prompt-tokens 60 leaves nothing"));
  Words strict = run;
  strict.insert(strict.end(), {"--strict", "--out", "strict"});
  const auto stopped = run_kvviz(strict, folder.path());
  CHECK(stopped.code == 1);
  CHECK(holds(stopped.err, "leaves nothing"));
}

TEST_CASE("[simulate batch] a text whose fraction has no room for the sinks fails alone") {
  const test::TemporaryFolder folder;
  write_prompts(folder / "p.txt", {8, 1});
  const json result = test::result_of({"simulate", "--prompts", "p.txt", "--policies", "streaming_llm",
                                       "--budget", "0.25", "--sinks", "10", "--no-timings"},
                                      folder.path());
  const json& failed = result["tables"]["failed_texts"]["rows"];
  REQUIRE(failed.size() == 1);
  CHECK(failed[0]["text"] == 1);
  CHECK(holds(failed[0]["reason"], "do not fit in a budget"));
}

TEST_CASE("[simulate batch] each text's row is the run of that text alone; the sums are those of all") {
  const test::TemporaryFolder folder;
  const auto run = [&](const std::string& samples) {
    return test::result_of({"simulate", "--samples", samples, "--seq-len", "200", "--policies", "h2o,window",
                            "--budget", "50", "--no-timings"},
                           folder.path());
  };
  const json all = run("0-2");
  double change = 0, predictions = 0;
  for (const int text : {0, 1, 2}) {
    CAPTURE(text);
    const json alone = run(std::to_string(text));
    for (const char* policy : {"h2o", "window"}) {
      const json one = row(all, "simulate_texts", {{"text", text}, {"policy", policy}});
      const json own = row(alone, "simulate", {{"policy", policy}});
      CHECK(one["predictions"] == own["predictions"]);
      CHECK(one["tokens"] == 200);
      for (const char* name : {"nll", "delta_nll", "delta_nll_se", "delta_ppl_percent", "kl",
                               "top1_agreement", "recall", "evictions", "resident_bytes"}) {
        CAPTURE(name);
        CHECK(number(one, name) == doctest::Approx(number(own, name)).epsilon(1e-9));
      }
    }
    const json h2o = row(all, "simulate_texts", {{"text", text}, {"policy", "h2o"}});
    change += number(h2o, "delta_nll") * number(h2o, "predictions");
    predictions += number(h2o, "predictions");
  }
  const json h2o = row(all, "simulate", {{"policy", "h2o"}});
  CHECK(number(h2o, "predictions") == predictions);
  CHECK(number(h2o, "delta_nll") == doctest::Approx(change / predictions).epsilon(1e-9));
}

TEST_CASE(
    "[simulate batch] bytes over texts are the mean of each text's, also where some pass a sliding window") {
  const test::TemporaryFolder folder;
  fs::copy(KVVIZ_DATA "/models/demo", folder / "model", fs::copy_options::recursive);
  auto config = json::parse(read_file(folder / "model/config.json"));
  config["model_type"] = "mistral";
  config["architectures"] = {"MistralForCausalLM"};
  config["sliding_window"] = 20;
  write_file(folder / "model/config.json", config.dump());
  write_prompts(folder / "p.txt", {1, 4});
  const json all = test::result_of({"simulate", "--model", "model", "--prompts", "p.txt", "--policies",
                                    "full,window", "--budget", "8", "--no-timings"},
                                   folder.path());
  double bytes = 0;
  for (const int text : {0, 1}) {
    const json one = row(all, "simulate_texts", {{"text", text}, {"policy", "full"}});
    const double tokens = std::min(number(one, "tokens"), 20.0);
    CHECK(number(one, "resident_bytes") == tokens * 2 * 4 * config["num_key_value_heads"].get<double>() *
                                               config["head_dim"].get<double>() *
                                               config["num_hidden_layers"].get<double>());
    bytes += number(one, "resident_bytes") / 2;
  }
  for (const char* policy : {"full", "window"})
    CHECK(number(row(all, "simulate", {{"policy", policy}}), "full_bytes") == bytes);
  CHECK(number(row(all, "simulate", {{"policy", "full"}}), "resident_bytes") == bytes);
}

TEST_CASE("[simulate batch] the eviction log of two texts is that of each, one after the other") {
  const auto log = [](const char* samples) {
    const test::TemporaryFolder folder;
    test::result_of({"simulate", "--samples", samples, "--seq-len", "100", "--policies", "h2o,tova",
                     "--budget", "30", "--no-timings", "--eviction-log"},
                    folder.path());
    return std::get<std::vector<int32_t>>(io::read_array(folder / "results/simulate.h5", "evictions").values);
  };
  const auto both = log("0-1"), first = log("0");
  auto second = log("1");
  for (size_t i = 1; i < second.size(); i += 7) second[i] = 1;
  auto joined = first;
  joined.insert(joined.end(), second.begin(), second.end());
  CHECK(both == joined);
}

TEST_CASE("[simulate batch] --target takes the whole run; a changed budget table is noticed") {
  CHECK(holds(test::refused({"simulate", "--policies", "window", "--target", "kl<1", "--shard", "0/2"}, 2),
              "--target takes all texts at once"));
  const test::TemporaryFolder folder;
  const auto write_table = [&](int budget) {
    std::string text = "layer\tkv_head\tbudget\n";
    for (int layer = 0; layer < 4; ++layer)
      for (int head = 0; head < 4; ++head) text += cat(layer, '\t', head, '\t', budget, '\n');
    write_file(folder / "t.tsv", text);
  };
  const auto run = [&](const Words& more) {
    Words all{"simulate",   "--samples",  "0-1", "--seq-len",      "64",   "--no-timings",
              "--no-plots", "--policies", "h2o", "--budget-table", "t.tsv"};
    all.insert(all.end(), more.begin(), more.end());
    return run_kvviz(all, folder.path());
  };
  write_table(20);
  for (const char* shard : {"0/2", "1/2"}) CHECK(run({"--shard", shard}).code == 0);
  // Shards of one table are merged where there is none.
  fs::create_directory(folder / "elsewhere");
  CHECK(run_kvviz({"merge", "../results", "--no-plots"}, folder / "elsewhere").code == 0);
  const json merged = json::parse(read_file(folder / "elsewhere/results/simulate.json"));
  CHECK(number(row(merged, "simulate", {{"policy", "h2o"}}), "budget_tokens") == 20);
  write_table(24);
  CHECK(run({"--shard", "1/2"}).code == 0);
  const auto mixed = run_kvviz({"merge", "results", "--no-plots"}, folder.path());
  CHECK(mixed.code == 2);
  CHECK(holds(mixed.err, "--budget-table"));
}
