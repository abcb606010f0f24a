// SPDX-License-Identifier: MIT
// `kvviz analyze` of a cache file with queries gives what it gives of the model and the text.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::holds;
using test::run_kvviz;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

namespace {

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

void run(const Words& arguments, const fs::path& folder) {
  const auto done = run_kvviz(arguments, folder);
  REQUIRE_MESSAGE(done.code == 0, done.err);
}

// What a run left in `folder`/results, without what says where it came from.
struct Left {
  json result;
  std::string arrays;
};

Left left(const fs::path& folder) {
  Left left{json::parse(read_file(folder / "results/analyze.json")),
            read_file(folder / "results/analyze.h5")};
  left.result.erase("provenance");
  return left;
}

// From the model with `input`, then from its capture; both with `more`.
struct Pair {
  Left model, cache;
};

Pair analyze_both(const fs::path& folder, const Words& input, const Words& more) {
  run(Words{"capture", "--queries"} + input, folder);
  run(Words{"analyze", "--out", "model", "--generate", "0"} + input + more, folder);
  run(Words{"analyze", "--out", "cache", "--cache", "caches/cache.h5"} + more, folder);
  return {left(folder / "model"), left(folder / "cache")};
}

// A model of the fixtures as `folder`/model_folder, with a tokenizer, and `tokens` ids as `folder`/ids.
void put_model(const fs::path& folder, const std::string& name, int tokens) {
  const fs::path fixtures = KVVIZ_FIXTURES, model = folder / "model_folder";
  fs::copy(fixtures / "models" / name, model);
  fs::copy(fixtures / "tokenizers/characters/tokenizer.json", model, fs::copy_options::overwrite_existing);
  std::ofstream ids(folder / "ids");
  for (int i = 0; i < tokens; ++i) ids << (i * i + 3 * i) % 97 << ' ';
}

void check_same(const Pair& pair) {
  CHECK(pair.model.result.at("summary").contains("sink_rate"));
  CHECK(pair.model.result.at("tables").contains("attention_heads"));
  for (const auto& [key, value] : pair.model.result.items()) {
    CAPTURE(key);
    CHECK(pair.cache.result.at(key) == value);
  }
  CHECK(pair.cache.result.size() == pair.model.result.size());
  CHECK(pair.cache.arrays == pair.model.arrays);
}

// Scripts of the figures, each line but the one that names the model and the text.
std::map<std::string, std::string> figures(const fs::path& folder) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(folder / "graphs")) {
    if (entry.path().extension() != ".gp") continue;
    std::ifstream in(entry.path());
    std::string& script = all[fs::relative(entry.path(), folder)];
    for (std::string line; std::getline(in, line);)
      if (!holds(line, " tokens") || !holds(line, "demo")) script += line + '\n';
  }
  return all;
}

}  // namespace

TEST_CASE("[analyze_cache] the shipped model: every number, array and figure is that of the run from it") {
  const test::TemporaryFolder folder;
  const Pair pair = analyze_both(folder.path(), {"--use-wikitext", "--seq-len", "200"},
                                 {"--keep-plot-scripts", "--map-bins", "16", "--gqa-agg", "max"});
  check_same(pair);
  CHECK(pair.cache.result.at("summary").at("perplexity").is_number());
  CHECK(pair.cache.result.at("summary").at("top1_accuracy").is_number());
  const auto from_model = figures(folder / "model"), from_cache = figures(folder / "cache");
  CHECK(from_model.size() > 15);
  CHECK(from_model.contains("graphs/attention/pooled_maps.gp"));
  CHECK(from_cache.size() == from_model.size());
  for (const auto& [name, script] : from_model) {
    CAPTURE(name);
    REQUIRE(from_cache.contains(name));
    CHECK(from_cache.at(name) == script);
  }
}

TEST_CASE("[analyze_cache] grouped queries, sliding windows, soft-caps, ALiBi: as from the model") {
  for (const std::string name : {"llama_gqa", "mistral", "qwen2_window", "gemma2", "bloom", "mpt",
                                 "falcon_rw", "gpt2", "gpt2_inverse_layer", "phi3_longrope"}) {
    CAPTURE(name);
    const test::TemporaryFolder folder;
    put_model(folder.path(), name, 30);
    check_same(analyze_both(folder.path(), {"--model", "model_folder", "--tokens", "ids"},
                            {"--no-plots", "--sink-tokens", "8"}));
  }
}

TEST_CASE("[analyze_cache] a text longer than the pieces that a capture without queries runs in") {
  const test::TemporaryFolder folder;
  put_model(folder.path(), "llama_gqa", 2100);
  json config = json::parse(read_file(folder / "model_folder/config.json"));
  config["max_position_embeddings"] = 4096;
  write_file(folder / "model_folder/config.json", config.dump());
  check_same(analyze_both(folder.path(), {"--model", "model_folder", "--tokens", "ids"},
                          {"--no-plots", "--focus", "attention"}));
}

TEST_CASE("[analyze_cache] any number of threads, compression, and a single token") {
  const test::TemporaryFolder folder;
  const Words text{"--seq-len", "100"};
  const Words parts{"--no-plots", "--focus", "attention,tokens"};
  const Pair pair = analyze_both(folder.path(), text + Words{"--threads", "1"}, parts);
  check_same(pair);
  run(Words{"capture", "--queries", "--gzip", "1", "--threads", "3"} + text, folder.path());
  run(Words{"analyze", "--out", "again", "--cache", "caches/cache.h5"} + parts, folder.path());
  CHECK(left(folder / "again").result == pair.model.result);

  const test::TemporaryFolder one;
  const Pair single = analyze_both(one.path(), {"--seq-len", "1"}, {"--no-plots"});
  check_same(single);
  CHECK(single.cache.result.at("summary").at("perplexity").is_null());
}

TEST_CASE(
    "[analyze_cache] captures of 16 bits: attention of the rounded queries and keys, near the model's") {
  const test::TemporaryFolder folder;
  const Words text{"--seq-len", "128"}, parts{"--no-plots", "--focus", "attention"};
  run(Words{"analyze", "--out", "model"} + text + parts, folder.path());
  const json want = left(folder / "model").result;
  for (const auto& [dtype, tolerance] : {std::pair{"f16", 1e-3}, {"bf16", 1e-2}}) {
    CAPTURE(dtype);
    run(Words{"capture", "--queries", "--cache-dtype", dtype} + text, folder.path());
    run(Words{"analyze", "--out", dtype, "--cache", "caches/cache.h5"} + parts, folder.path());
    const json got = left(folder / dtype).result;
    CHECK(got.at("summary").at("perplexity") == want.at("summary").at("perplexity"));
    CHECK(got.at("tables").at("attention_heads") != want.at("tables").at("attention_heads"));
    const json &rows = got.at("tables").at("attention_heads").at("rows"),
               &expected = want.at("tables").at("attention_heads").at("rows");
    REQUIRE(rows.size() == expected.size());
    REQUIRE_FALSE(rows.empty());
    for (size_t i = 0; i < rows.size(); ++i)
      for (const char* column : {"alpha_1", "sink_mass", "entropy_normalized"})
        CHECK(std::abs(rows[i].at(column).get<double>() - expected[i].at(column).get<double>()) <= tolerance);
  }
}

TEST_CASE("[analyze_cache] without queries: as before, and what needs them says how to get them") {
  const test::TemporaryFolder folder;
  run({"capture", "--seq-len", "64"}, folder.path());
  const Words analyze{"analyze", "--cache", "caches/cache.h5", "--no-plots"};
  const std::string told =
      "kvviz: no queries in caches/cache.h5: attention is left out; kvviz capture --queries "
      "stores them\n";
  CHECK(run_kvviz(analyze + Words{"--focus", "layers"}, folder.path()).err.find(told) == std::string::npos);
  CHECK(run_kvviz(analyze + Words{"--quiet"}, folder.path()).err.empty());
  const auto done = run_kvviz(analyze, folder.path());
  REQUIRE_MESSAGE(done.code == 0, done.err);
  CHECK(holds(done.err, told));
  const json result = left(folder.path()).result;
  CHECK(std::ranges::any_of(result.at("nulls"), [](const json& null) {
    return null.at("path") == "summary.perplexity" &&
           holds(null.at("reason"), "the cache file holds no losses; kvviz capture --queries");
  }));
  CHECK_FALSE(result.at("tables").contains("attention_heads"));
  CHECK_FALSE(result.at("summary").contains("sink_rate"));
  CHECK(result.at("summary").at("perplexity").is_null());
  for (const Words& more :
       {Words{"--focus", "attention"}, Words{"--map-bins", "8"}, Words{"--sink-eps", "0.5"}}) {
    const auto refused = run_kvviz(analyze + more, folder.path());
    CAPTURE(refused.err);
    CHECK(refused.code == 2);
    CHECK(holds(refused.err, "capture again with --queries"));
  }
  const auto generation = run_kvviz(analyze + Words{"--generate", "5"}, folder.path());
  CHECK(generation.code == 2);
  CHECK(holds(generation.err, "need a model"));
}

TEST_CASE(
    "[analyze_cache] queries change nothing that is stored without them, nor what else reads the file") {
  const test::TemporaryFolder folder;
  const Words parts{"--no-plots", "--focus", "layers,heads,embeddings,distribution"};
  run({"capture", "--seq-len", "96", "--out", "plain"}, folder.path());
  run({"capture", "--seq-len", "96", "--out", "full", "--queries"}, folder.path());
  run(Words{"analyze", "--out", "a", "--cache", "plain/caches/cache.h5"} + parts, folder.path());
  run(Words{"analyze", "--out", "b", "--cache", "full/caches/cache.h5"} + parts, folder.path());
  CHECK(left(folder / "a").result.at("tables") == left(folder / "b").result.at("tables"));
  run({"tucker", "--cache", "full/caches/cache.h5", "--no-plots"}, folder.path());
  run({"analyze_similarity", "--cache", "full/caches/cache.h5", "--no-plots"}, folder.path());
}
