// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/process.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

std::set<std::string> files_below(const fs::path& folder) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.insert(fs::relative(entry.path(), folder));
  return files;
}

json fact(const json& result, const char* key) {
  return result.at("summary").at(key);
}

json analyze(std::vector<std::string> arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), "analyze");
  arguments.insert(arguments.end(), {"--json", "-"});
  const auto run = run_kvviz(arguments, folder);
  REQUIRE_MESSAGE(run.code == 0, run.err);
  return json::parse(run.out);
}

}  // namespace

TEST_CASE("[analyze] the whole path: every figure of the catalogue, the result, the tables") {
  const test::TemporaryFolder folder;
  const auto run = run_kvviz({"analyze", "--csv", "--quiet"}, folder.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  CHECK(run.err.empty());
  const auto files = files_below(folder.path());
  for (const char* figure : {"layers/layer_statistics", "layers/layer_pruning_potential",
                             "heads/head_sparsity", "heads/head_pruning_potential",
                             "heads/pruning_heatmap_by_layer_head", "weight_magnitude_distribution",
                             "embeddings/embedding_consistency", "embeddings/sparse_dense_embedding_patterns",
                             "embeddings/embedding_importance_heatmap", "tokens/token_position_importance",
                             "tokens/generation_stages_comparison", "tokens/token_sparsity_heatmap",
                             "attention/sink_share", "attention/mass_per_key", "attention/pooled_maps"}) {
    const std::string file = std::string("graphs/") + figure + ".png";
    CHECK_MESSAGE(files.contains(file), file);
    CHECK(run.out.find(file) != std::string::npos);
    CHECK(read_file(folder.path() / file).starts_with("\x89PNG"));
  }
  CHECK(files.contains("results/analyze.h5"));
  CHECK(files.contains("results/analyze/layers.csv"));
  const json result = json::parse(read_file(folder.path() / "results/analyze.json"));
  CHECK(result.at("figures").size() ==
        static_cast<size_t>(std::count_if(files.begin(), files.end(),
                                          [](const auto& f) { return f.starts_with("graphs/"); })));
  CHECK(fact(result, "tokens") == 512);
  CHECK(fact(result, "perplexity").get<double>() ==
        doctest::Approx(std::exp(fact(result, "mean_nll").get<double>())));
}

TEST_CASE("[analyze] exactly one BOS, and --bos and --seq-len mean what they say") {
  const test::TemporaryFolder folder;
  const std::vector<std::string> common = {"--no-plots", "--focus",   "tokens", "--generate",
                                           "0",          "--seq-len", "100"};
  const auto with = [&](const char* bos) {
    auto arguments = common;
    arguments.insert(arguments.end(), {"--bos", bos});
    return analyze(arguments, folder.path());
  };
  for (const char* bos : {"auto", "on", "off"}) {
    const json result = with(bos);
    const json rows = result.at("tables").at("tokens").at("rows");
    REQUIRE(rows.size() == 100);
    const auto marks =
        std::count_if(rows.begin(), rows.end(), [](const json& row) { return row.at("text") == "<s>"; });
    CHECK(marks == (std::string(bos) == "off" ? 0 : 1));
    CHECK((rows[0].at("text") == "<s>") == (std::string(bos) != "off"));
  }
  // Token ids that begin with it: 1 is <s>.
  for (const char* ids : {"1 5 9", "5 9"}) {
    write_file(folder.path() / "ids.txt", ids);
    const json result =
        analyze({"--no-plots", "--focus", "tokens", "--generate", "0", "--tokens", "ids.txt", "--bos", "on"},
                folder.path());
    const json rows = result.at("tables").at("tokens").at("rows");
    REQUIRE(rows.size() == 3);
    CHECK(rows[0].at("text") == "<s>");
    CHECK(rows[1].at("text") != "<s>");
  }
}

TEST_CASE("[analyze] the same call gives the same bytes, for any number of threads") {
  const test::TemporaryFolder one, two, three;
  const std::vector<std::string> call = {"analyze", "--prompt",
                                         "The keeper of the light went up the stairs .", "--no-plots"};
  auto threads = call;
  threads.insert(threads.begin(), {"--threads", "3"});
  CHECK(run_kvviz(call, one.path()).code == 0);
  CHECK(run_kvviz(call, two.path()).code == 0);
  CHECK(run_kvviz(threads, three.path()).code == 0);
  for (const char* file : {"results/analyze.json", "results/analyze.h5"})
    CHECK(read_file(one.path() / file) == read_file(two.path() / file));
  CHECK(read_file(one.path() / "results/analyze.h5") == read_file(three.path() / "results/analyze.h5"));
  const json a = json::parse(read_file(one.path() / "results/analyze.json"));
  const json b = json::parse(read_file(three.path() / "results/analyze.json"));
  CHECK(a.at("tables") == b.at("tables"));
  CHECK(a.at("summary") == b.at("summary"));
}

TEST_CASE("[analyze] a focus restricts the work") {
  const test::TemporaryFolder folder;
  CHECK(run_kvviz({"analyze", "--analysis_focus", "layers"}, folder.path()).code == 0);
  for (const std::string& file : files_below(folder.path())) {
    CAPTURE(file);
    CHECK((file.starts_with("graphs/layers/") || file.starts_with("results/")));
  }
  const json result = json::parse(read_file(folder.path() / "results/analyze.json"));
  CHECK(result.at("tables").contains("layers"));
  CHECK(result.at("tables").size() == 1);
  CHECK_FALSE(result.at("summary").contains("sink_rate"));
}

TEST_CASE(
    "[analyze] figures and tables of an earlier text go, and nothing that is not the earlier result's") {
  const test::TemporaryFolder folder;
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"analyze", "--seq-len", "32", "--csv"});
    const auto done = run_kvviz(arguments, folder.path());
    REQUIRE_MESSAGE(done.code == 0, done.err);
  };
  run({"--focus", "layers,tokens", "--generate", "0"});
  CHECK(files_below(folder.path()).contains("results/analyze/tokens.csv"));
  CHECK(files_below(folder.path()).contains("graphs/tokens/token_sparsity_heatmap.png"));
  const std::vector<std::string> others{"graphs/tokens/mine.png", "results/analyze/mine.csv", "mine.png"};
  for (const std::string& file : others) write_file(folder.path() / file, "mine");
  json result = json::parse(read_file(folder.path() / "results/analyze.json"));
  for (const char* outside : {"mine.png", "graphs/../mine.png"})
    result["figures"].push_back({{"path", outside}, {"title", ""}});
  write_file(folder.path() / "results/analyze.json", result.dump());

  run({"--focus", "layers", "--no-plots"});  // the same text: its figures are still right
  CHECK(files_below(folder.path()).contains("graphs/layers/layer_statistics.png"));
  write_file(folder.path() / "results/analyze.json", result.dump());

  run({"--wikitext-index", "3", "--focus", "layers"});
  auto files = files_below(folder.path());
  for (const std::string& file : others) CHECK(files.erase(file) == 1);
  for (const std::string& file : files) {
    CAPTURE(file);
    CHECK((file.starts_with("graphs/layers/") || file == "results/analyze/layers.csv" ||
           file == "results/analyze.json" || file == "results/analyze.h5"));
  }
  CHECK(files.contains("results/analyze/layers.csv"));
}

TEST_CASE("[analyze] a captured cache gives the same result as its model") {
  const test::TemporaryFolder folder;
  const std::vector<std::string> text = {"--prompt",
                                         "The bees fly out in the morning and come home at night ."};
  auto capture = text;
  capture.insert(capture.begin(), "capture");
  REQUIRE(run_kvviz(capture, folder.path()).code == 0);
  auto from_model = text;
  const std::vector<std::string> parts = {"--no-plots", "--focus", "layers,heads,embeddings,distribution"};
  from_model.insert(from_model.end(), parts.begin(), parts.end());
  auto from_cache = parts;
  from_cache.insert(from_cache.end(), {"--cache", "caches/cache.h5"});
  CHECK(analyze(from_model, folder.path()).at("tables") == analyze(from_cache, folder.path()).at("tables"));
  for (const char* dtype : {"f16", "bf16"}) {
    capture.insert(capture.end(), {"--cache-dtype", dtype});
    REQUIRE(run_kvviz(capture, folder.path()).code == 0);
    CHECK(analyze(from_cache, folder.path()).at("provenance").at("dtype") == dtype);
    capture.resize(capture.size() - 2);
  }
}

TEST_CASE("[analyze] a single token, and a cache without attention") {
  const test::TemporaryFolder folder;
  const json one = analyze({"--seq-len", "1", "--generate", "2"}, folder.path());
  CHECK(fact(one, "perplexity").is_null());
  const json reasons = one.at("nulls");
  CHECK(std::any_of(reasons.begin(), reasons.end(), [](const json& null) {
    return null.at("path") == "summary.perplexity" && null.at("reason") == "a single token";
  }));
  CHECK(fact(one, "sink_rate").is_null());
}

TEST_CASE("[analyze] gates: 4 when one fires, 0 when not, 2 for a name that is none") {
  const test::TemporaryFolder folder;
  const auto with = [&](const char* gate) {
    return run_kvviz({"analyze", "--prompt", "a b c", "--no-plots", "--focus", "layers", "--fail-if", gate},
                     folder.path());
  };
  CHECK(with("perplexity>1e9").code == 0);
  const auto fired = with("perplexity>1");
  CHECK(fired.code == 4);
  CHECK(fired.err.find("perplexity") != std::string::npos);
  CHECK(with("layers.k_hoyer.max>0").code == 4);
  CHECK(with("perplexit>1").code == 2);
}

TEST_CASE("[analyze] the figures of other formats, at another size") {
  const test::TemporaryFolder folder;
  CHECK(run_kvviz({"analyze", "--focus", "layers", "--format", "svg"}, folder.path()).code == 0);
  CHECK(read_file(folder.path() / "graphs/layers/layer_statistics.svg").find("<svg") != std::string::npos);
  CHECK(run_kvviz({"analyze", "--focus", "layers", "--format", "pdf", "--keep-plot-scripts"}, folder.path())
            .code == 0);
  CHECK(read_file(folder.path() / "graphs/layers/layer_statistics.pdf").starts_with("%PDF"));
  CHECK(files_below(folder.path()).contains("graphs/layers/layer_statistics.gp"));
}

TEST_CASE("[analyze] a model without a tokenizer runs on token ids, and on nothing else") {
  const test::TemporaryFolder folder;
  const fs::path demo = fs::path(KVVIZ_DATA) / "models/demo";
  fs::create_directory(folder / "bare");
  for (const char* file : {"config.json", "model.safetensors"}) fs::copy(demo / file, folder / "bare" / file);
  write_file(folder / "ids.txt", "1 5 9 200, 45 17 8\n9 100 3");
  const auto measured = [&](const char* model) {
    return analyze(
        {"--model", model, "--tokens", "ids.txt", "--no-plots", "--focus", "layers,heads,tokens,attention"},
        folder.path());
  };
  json with = measured("demo"), without = measured("bare");
  for (const char* table : {"layers", "heads", "attention_heads"})
    CHECK(with["tables"][table]["rows"] == without["tables"][table]["rows"]);
  json& tokens = without["tables"]["tokens"]["rows"];
  REQUIRE(tokens.size() == 10);
  CHECK(tokens[3]["text"] == "<id 200>");
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i]["text"] = with["tables"]["tokens"]["rows"][i]["text"];
  CHECK(tokens == with["tables"]["tokens"]["rows"]);

  const auto refused = run_kvviz({"analyze", "--model", "bare", "--prompt", "hello"}, folder.path());
  CHECK(refused.code == 1);
  CHECK_MESSAGE(refused.err.find("no tokenizer in bare: looked for tokenizer.json") != std::string::npos,
                refused.err);
  CHECK(refused.err.find("--tokens takes a file of token ids") != std::string::npos);
  write_file(folder / "far.txt", "1 2048");
  const auto far = run_kvviz({"analyze", "--model", "bare", "--tokens", "far.txt"}, folder.path());
  CHECK(far.err.find("token id 2048 is outside the model's vocabulary of 2048\n") != std::string::npos);
}

TEST_CASE("[analyze] figures speak of the thresholds that were asked for") {
  const test::TemporaryFolder folder;
  const auto done = run_kvviz({"analyze", "--seq-len", "64", "--focus", "layers,heads,embeddings",
                               "--small-eps", "0.5", "--legacy-threshold", "3", "--keep-plot-scripts"},
                              folder.path());
  REQUIRE_MESSAGE(done.code == 0, done.err);
  int asked = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
    if (entry.path().extension() != ".gp") continue;
    CAPTURE(entry.path().string());
    const std::string script = read_file(entry.path());
    CHECK(script.find("0.1 x RMS") == std::string::npos);
    CHECK(script.find("1 % of the largest") == std::string::npos);
    // A Gaussian's share below 0.5 of its RMS, erf(0.5 / sqrt 2) = 0.3829, and below 0.1, 0.0797.
    CHECK(script.find("(0.080)") == std::string::npos);
    asked += script.find("0.5 x RMS") != std::string::npos ? 1 : 0;
  }
  CHECK(asked >= 2);
}
