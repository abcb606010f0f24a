// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "cli/batch_runs.hpp"
#include "cli/process.hpp"
#include "cli/results.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::holds;
using test::result_of;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Each text by itself, and all of them at once.
struct Runs {
  std::vector<json> single;
  json all;
};

Runs run_both(const Words& arguments, int texts) {
  const test::TemporaryFolder folder;
  Runs runs;
  for (int i = 0; i < texts; ++i)
    runs.single.push_back(
        result_of(arguments + Words{"--use-wikitext", "--wikitext-index", std::to_string(i)}, folder.path()));
  runs.all = result_of(arguments + Words{"--samples", "0-" + std::to_string(texts - 1)}, folder.path());
  CHECK_FALSE(fs::exists(folder / "results" / (arguments.front() + ".h5")));
  return runs;
}

struct Sums {
  double n = 0, mean = 0, sd = 0;
};

/// Two plain passes.
Sums sums_of(const std::vector<json>& values) {
  Sums sums;
  for (const json& value : values)
    if (value.is_number()) ++sums.n, sums.mean += value.get<double>();
  sums.mean /= sums.n;
  for (const json& value : values)
    if (value.is_number()) sums.sd += std::pow(value.get<double>() - sums.mean, 2);
  sums.sd = std::sqrt(sums.sd / (sums.n - 1));
  return sums;
}

// Some ten operations on numbers of one size.
void check_near(const json& got, double want, double scale) {
  REQUIRE(got.is_number());
  CHECK(std::abs(got.get<double>() - want) <= 1e-12 * (std::abs(scale) + std::abs(want)));
}

void check_summary(const Runs& runs) {
  int compared = 0;
  for (const auto& [key, first] : runs.single.front().at("summary").items()) {
    if (!first.is_number()) continue;
    CAPTURE(key);
    std::vector<json> values;
    for (const json& single : runs.single) values.push_back(single.at("summary").at(key));
    const Sums sums = sums_of(values);
    const json& summary = runs.all.at("summary");
    check_near(summary.at(key), sums.mean, sums.mean);
    if (summary.contains(key + "_se")) {
      check_near(summary.at(key + "_se"), sums.sd / std::sqrt(sums.n), sums.mean);
    } else {
      CHECK(sums.sd == 0);
    }
    const json row = test::row(runs.all, "facts_over_texts", {{"fact", key}});
    CHECK(row.at("texts") == sums.n);
    check_near(row.at("sd"), sums.sd, sums.mean);
    ++compared;
  }
  CHECK(compared >= 9);
  CHECK(runs.all.at("summary").at("texts") == runs.single.size());
  CHECK(runs.all.at("summary").at("texts_failed") == 0);
}

json key_of(const json& row, const json& columns) {
  json key = json::array();
  for (const json& column : columns) key.push_back(row.at(column.get<std::string>()));
  return key;
}

/// Each number of `table` over the texts, with its key.
void check_table(const Runs& runs, const std::string& name) {
  CAPTURE(name);
  const json& over = runs.all.at("tables").at(name + "_over_texts");
  CHECK(over.at("key") == runs.single.front().at("tables").at(name).at("key"));
  REQUIRE_FALSE(over.at("rows").empty());
  int compared = 0;
  for (const json& row : over.at("rows")) {
    const json key = key_of(row, over.at("key"));
    std::vector<json> found;
    for (const json& single : runs.single)
      for (const json& other : single.at("tables").at(name).at("rows"))
        if (key_of(other, over.at("key")) == key) found.push_back(other);
    CHECK(row.at("texts") == found.size());
    for (const auto& [column, value] : row.items()) {
      if (!row.contains(column + "_sd")) continue;
      std::vector<json> values;
      for (const json& other : found) values.push_back(other.at(column));
      const Sums sums = sums_of(values);
      if (sums.n > 0) check_near(value, sums.mean, sums.mean);
      if (sums.n > 1) check_near(row.at(column + "_sd"), sums.sd, sums.mean);
      if (row.contains(column + "_n")) CHECK(row.at(column + "_n") == sums.n);
      compared += sums.n > 0 ? 1 : 0;
    }
  }
  CHECK(compared > 0);
}

std::set<std::string> figures_of(const json& result) {
  std::set<std::string> files;
  for (const json& figure : result.at("figures"))
    files.insert(fs::path(figure.at("path").get<std::string>()).lexically_relative("graphs").string());
  return files;
}

}  // namespace

TEST_CASE("[batch] analyze: workers, shards and interruptions change no byte") {
  test::check_batch({"analyze", "--samples", "0-4", "--seq-len", "96", "--generate", "4"});
}

TEST_CASE("[batch] analyze_similarity: workers, shards and interruptions change no byte") {
  test::check_batch({"analyze_similarity", "--samples", "0-3", "--seq-len", "64", "--key-basis", "pre_rope"});
}

TEST_CASE("[batch] analyze_generation: workers, shards and interruptions change no byte") {
  test::check_batch({"analyze_generation", "--samples", "0-3", "--seq-len", "40", "--generate", "6",
                     "--policy", "h2o", "--temperature", "1", "--seed", "3", "--no-timings"});
}

TEST_CASE("[batch] analyses: a text that fails is named, the others are there") {
  test::check_failing_text({"analyze", "--focus", "layers"});
  test::check_failing_text({"analyze_similarity"});
  test::check_failing_text({"analyze_generation", "--generate", "2", "--no-timings"});
}

TEST_CASE("[batch] analyze: the result of three texts is the mean of three results") {
  const Runs runs = run_both({"analyze", "--seq-len", "80", "--generate", "5"}, 3);
  check_summary(runs);
  for (const char* table : {"layers", "heads", "attention_layers", "attention_heads", "attention_kv_heads",
                            "generation", "channel_outliers", "legacy_dimensions", "magnitude_quantiles"})
    check_table(runs, table);
  const json& tables = runs.all.at("tables");
  for (const char* of_tokens : {"tokens", "top_keys", "tokens_over_texts", "top_keys_over_texts"})
    CHECK_FALSE(tables.contains(of_tokens));
  for (size_t i = 0; i < 3; ++i) {
    const json& row = tables.at("texts").at("rows").at(i);
    const json& summary = runs.single[i].at("summary");
    for (const char* fact : {"perplexity", "tokens", "k_hoyer", "channel_outliers"})
      CHECK(row.at(fact) == summary.at(fact));
    CHECK(row.at("name") == runs.single[i].at("provenance").at("text"));
  }
  CHECK(runs.all.at("summary").at("heaviest_token") == runs.single[0].at("summary").at("heaviest_token"));
  CHECK(runs.all.at("provenance").at("options").at("samples") == "0-2");
}

TEST_CASE("[batch] analyze_similarity: the result of three texts is the mean of three results") {
  const Runs runs = run_both({"analyze_similarity", "--seq-len", "80"}, 3);
  check_summary(runs);
  for (const char* table :
       {"savings", "layers", "layer_pairs", "layer_prediction", "heads", "channels", "query_heads"})
    check_table(runs, table);
  for (const json& column : runs.all.at("tables").at("heads_over_texts").at("columns"))
    CHECK_FALSE(holds(column.at("name").get<std::string>(), "nearest"));
}

TEST_CASE("[batch] analyze_generation: the result of three texts is the mean of three results") {
  const Runs runs = run_both(
      {"analyze_generation", "--seq-len", "40", "--generate", "8", "--policy", "h2o", "--no-timings"}, 3);
  check_summary(runs);
  for (const char* table : {"generation", "generation_layers", "generation_heads", "generated"})
    check_table(runs, table);
  for (size_t i = 0; i < 3; ++i)
    CHECK(runs.all.at("tables").at("texts").at("rows").at(i).at("generated_text") ==
          runs.single[i].at("summary").at("text"));
}

TEST_CASE("[batch] analyses: one text stays one text, whatever names it") {
  const test::TemporaryFolder folder;
  for (const char* command : {"analyze", "analyze_similarity", "analyze_generation"}) {
    Words arguments{command, "--seq-len", "70"};
    if (std::string(command) == "analyze_generation") arguments = arguments + Words{"--no-timings"};
    const json first = result_of(arguments, folder.path());
    const json named = result_of(arguments + Words{"--samples", "0"}, folder.path());
    CHECK(first.at("summary") == named.at("summary"));
    CHECK(first.at("tables") == named.at("tables"));
    CHECK(first.at("provenance").at("text") == named.at("provenance").at("text"));
    CHECK_FALSE(first.at("provenance").at("options").contains("samples"));
    CHECK_FALSE(first.at("summary").contains("texts"));
    CHECK(named.at("arrays") == "results/" + std::string(command) + ".h5");
    CHECK_FALSE(fs::exists(folder / "results" / (std::string(command) + ".records")));
    CHECK(holds(test::refused(arguments + Words{"--workers", "2"}, 2), "there is one"));
  }
}

TEST_CASE("[batch] analyses: the figures of many texts, and gates on their numbers") {
  const test::TemporaryFolder folder;
  const std::set<std::string> figures{"batch/facts.png", "batch/layers.png", "batch/heads.png"};
  const Words analyze{"analyze", "--probe", "random", "--probe-count", "3", "--generate", "0", "--json", "-"};
  const auto run =
      run_kvviz(analyze + Words{"--fail-if", "k_hoyer_se>1", "--fail-if", "layers_over_texts.0.k_rms_sd<0",
                                "--fail-if", "facts_over_texts.perplexity.ci95_low>0"},
                folder.path());
  CHECK_MESSAGE(run.code == 4, run.err);
  CHECK(holds(run.err, "facts_over_texts.perplexity.ci95_low"));
  CHECK_FALSE(holds(run.err, "k_rms_sd"));
  CHECK(figures_of(json::parse(run.out)) == figures);
  for (const std::string& figure : figures)
    CHECK(read_file(folder / "graphs" / figure).starts_with("\x89PNG"));
  const auto typo = run_kvviz(analyze + Words{"--fail-if", "k_hoyer_sx>1"}, folder.path());
  CHECK(typo.code == 2);
}

TEST_CASE(
    "[batch] analyze_generation: an article leaves room for what is generated, a prompt that does not "
    "fails") {
  const test::TemporaryFolder folder;
  const json articles = result_of(
      {"analyze_generation", "--samples", "0-1", "--generate", "1000", "--no-timings", "--ignore-eos"},
      folder.path());
  CHECK(articles.at("summary").at("prompt_tokens") == 24);  // of the demo model's 1024
  std::string prompts;
  for (int i = 0; i < 3; ++i)
    prompts += (i == 1 ? std::string("The lamp was lit , and it rained .") : "Rain") + "\n";
  write_file(folder / "prompts.txt", prompts);
  const json some = result_of({"analyze_generation", "--prompts", "prompts.txt", "--generate", "1020",
                               "--no-timings", "--ignore-eos"},
                              folder.path());
  CHECK(some.at("summary").at("texts_failed") == 1);
  CHECK(holds(some.at("tables").at("failed_texts").at("rows").at(0).at("reason").get<std::string>(),
              "exceed the model's context of 1024"));
}

TEST_CASE("[batch] analyses: a cache file is one text") {
  const test::TemporaryFolder folder;
  for (const Words& more : {Words{"--samples", "0-1"}, Words{"--prompts", "p.txt"},
                            Words{"--probe", "random"}, Words{"--workers", "2"}, Words{"--resume"}})
    for (const char* command : {"analyze", "analyze_similarity"})
      CHECK(holds(test::refused(Words{command, "--cache", "c.h5"} + more, 2), "--cache"));
}
