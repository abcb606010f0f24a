// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>

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

json similarity(std::vector<std::string> arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), "analyze_similarity");
  return test::result_of(arguments, folder);
}

std::string refused(std::vector<std::string> arguments, int code = 2) {
  arguments.insert(arguments.begin(), "analyze_similarity");
  return test::refused(arguments, code);
}

}  // namespace

TEST_CASE("[analyze_similarity] the shipped model: every figure, table and array; the same bytes twice") {
  const test::TemporaryFolder folder;
  const std::vector<std::string> arguments{"analyze_similarity", "--seq-len", "128"};
  const auto run = run_kvviz(arguments, folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  CHECK(holds(run.out, "savings"));
  for (const char* name :
       {"layer_similarity_matrix", "head_similarity_matrix", "head_dendrogram",
        "embedding_dimension_correlations", "token_similarity_matrix", "token_kv_similarity_matrices",
        "token_embedding_patterns", "layer_prediction_error", "attention_similarity"})
    CHECK(fs::file_size(folder.path() / "graphs/similarity" / (std::string(name) + ".png")) > 1000);
  const std::string first = read_file(folder.path() / "results/analyze_similarity.json"),
                    arrays = read_file(folder.path() / "results/analyze_similarity.h5");
  REQUIRE(run_kvviz(arguments, folder.path()).code == 0);
  CHECK(read_file(folder.path() / "results/analyze_similarity.json") == first);
  CHECK(read_file(folder.path() / "results/analyze_similarity.h5") == arrays);
  const json result = json::parse(first);
  CHECK(result["tables"]["layer_pairs"]["rows"].size() == 2 * 6);
  CHECK(result["tables"]["heads"]["rows"].size() == 2 * 16);
  CHECK(result["tables"]["tokens"]["rows"].size() == 100);
  CHECK(result["tables"]["query_heads"]["rows"].size() == 32);
  const auto matrix = io::read_array(folder.path() / "results/analyze_similarity.h5", "heads/k_excess");
  CHECK(matrix.shape == std::vector<int64_t>{16, 16});
  CHECK(std::abs(std::get<std::vector<double>>(matrix.values)[17] - 1) < 1e-5);
  // The text's first token is what most heads rest on.
  CHECK(number(row(result, "tokens", {{"position", 0}}), "sink_share") > 0.1);
}

TEST_CASE(
    "[analyze_similarity] a captured cache says the same of keys and values, and nothing of attention") {
  const test::TemporaryFolder folder;
  REQUIRE(run_kvviz({"capture", "--seq-len", "96"}, folder.path()).code == 0);
  const json model = similarity({"--seq-len", "96"}, folder.path());
  const json file = similarity({"--cache", "caches/cache.h5"}, folder.path());
  for (const char* table : {"savings", "layers", "layer_pairs", "layer_prediction", "heads", "channels"})
    CHECK(file["tables"][table] == model["tables"][table]);
  CHECK_FALSE(file["tables"].contains("query_heads"));
  CHECK(file["summary"]["attention_similarity"].is_null());
  CHECK(holds(file["nulls"].dump(), "no queries"));
  CHECK(row(file, "tokens", {{"position", 0}})["sink_share"].is_null());
  CHECK(holds(refused({"--cache", "c.h5", "--prompt", "x"}), "without a model or a text"));
  const auto other = run_kvviz(
      {"analyze_similarity", "--cache", "caches/cache.h5", "--key-basis", "pre_rope"}, folder.path());
  CHECK(other.code == 2);
  CHECK(holds(other.err, "post_rope keys only"));
  const auto maps =
      run_kvviz({"analyze_similarity", "--cache", "caches/cache.h5", "--map-bins", "8"}, folder.path());
  CHECK(maps.code == 2);
  CHECK(holds(maps.err, "capture again with --queries"));
}

TEST_CASE("[analyze_similarity] a captured cache with queries says the same as its model") {
  const test::TemporaryFolder folder;
  REQUIRE(run_kvviz({"capture", "--queries", "--seq-len", "96"}, folder.path()).code == 0);
  const json model = similarity({"--seq-len", "96", "--map-bins", "16"}, folder.path());
  const json file = similarity({"--cache", "caches/cache.h5", "--map-bins", "16"}, folder.path());
  CHECK(file["tables"] == model["tables"]);
  CHECK(file["summary"] == model["summary"]);
  CHECK(file["nulls"] == model["nulls"]);
  CHECK(file["summary"]["attention_similarity"].is_number());
}

TEST_CASE("[analyze_similarity] keys before RoPE are other keys, values stay") {
  const test::TemporaryFolder folder;
  const json after = similarity({"--seq-len", "128"}, folder.path());
  const json before = similarity({"--seq-len", "128", "--key-basis", "pre_rope"}, folder.path());
  CHECK(before["summary"]["key_basis"] == "pre_rope");
  CHECK(after["summary"]["k_layer_excess"] != before["summary"]["k_layer_excess"]);
  CHECK(after["summary"]["v_layer_excess"] == before["summary"]["v_layer_excess"]);
  CHECK(after["summary"]["attention_similarity"] == before["summary"]["attention_similarity"]);
}

TEST_CASE("[analyze_similarity] every option acts") {
  const test::TemporaryFolder folder;
  const auto tables = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--seq-len", "64"});
    json result = similarity(arguments, folder.path());
    return result["tables"];
  };
  const json plain = tables({});
  const std::pair<std::vector<std::string>, const char*> options[] = {
      {{"--layer-threshold", "0.1"}, "savings"},
      {{"--head-threshold", "0.2"}, "savings"},
      {{"--channel-threshold", "0.99"}, "savings"},
      {{"--token-threshold", "0.99"}, "savings"},
      {{"--max-tokens", "40"}, "layer_pairs"},
      {{"--skip-first", "3"}, "channels"},
      {{"--positions", "10"}, "tokens"},
      {{"--subspace-energy", "0.5"}, "layer_pairs"},
      {{"--subspace-rank", "2"}, "layer_prediction"},
      {{"--map-bins", "8"}, "query_heads"}};
  for (const auto& [option, table] : options) {
    CAPTURE(option.front());
    CHECK(tables(option)[table] != plain[table]);
  }
  similarity({"--layer", "2", "--head", "1"}, folder.path());
  const auto named = io::read_array(folder.path() / "results/analyze_similarity.h5", "channels/k_r");
  similarity({"--layer", "2", "--head", "2"}, folder.path());
  CHECK(std::get<std::vector<double>>(
            io::read_array(folder.path() / "results/analyze_similarity.h5", "channels/k_r").values) !=
        std::get<std::vector<double>>(named.values));
}

TEST_CASE("[analyze_similarity] short texts: null with the reason") {
  const test::TemporaryFolder folder;
  for (const std::string tokens : {"1", "2", "3"}) {
    CAPTURE(tokens);
    const json result = similarity({"--seq-len", tokens}, folder.path());
    for (const json& one : result["tables"]["savings"]["rows"]) CHECK(one["groups"] == 0);
    CHECK(result["summary"]["k_layer_r2"].is_null());
    CHECK(holds(result["nulls"].dump(), "16 tokens"));
    CHECK_FALSE(result["tables"].contains("layer_prediction"));
  }
  CHECK_FALSE(similarity({"--seq-len", "15"}, folder.path())["tables"].contains("layer_prediction"));
  CHECK(similarity({"--seq-len", "16"}, folder.path())["tables"].contains("layer_prediction"));
  const auto drawn = run_kvviz({"analyze_similarity", "--seq-len", "1"}, folder.path());
  CHECK_MESSAGE(drawn.code == 0, drawn.err);
}

TEST_CASE("[analyze_similarity] the command line's mistakes") {
  CHECK(holds(refused({"--layer", "4"}), "layers 0 to 3"));
  CHECK(holds(refused({"--head", "4"}), "KV heads 0 to 3"));
  CHECK(holds(refused({"--head-threshold", "1.2"}), "head-threshold"));
  CHECK(holds(refused({"--subspace-rank", "0"}), "subspace-rank"));
  CHECK(holds(refused({"--key-basis", "rope"}), "post_rope"));
  CHECK(holds(refused({"--map-bins", "1"}), "map-bins"));
  CHECK(holds(refused({"--seq-len", "32", "--skip-first", "40"}, 1), "leaves none of 32"));
}
