// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cli/process.hpp"
#include "cli/results.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using nlohmann::json;
using test::holds;
using test::row;
using test::run_kvviz;
namespace fs = std::filesystem;

namespace {

/// A model folder without weights: Llama 3.2 1B as published, or with other numbers, and the shipped
/// tokenizer.
class Folder {
 public:
  explicit Folder(const json& changes = json::object()) {
    json config =
        json::parse(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":2048,
        "intermediate_size":8192,"head_dim":64,"num_attention_heads":32,"num_key_value_heads":8,
        "num_hidden_layers":16,"vocab_size":128256,"max_position_embeddings":131072,"rope_theta":500000.0,
        "tie_word_embeddings":true,"rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
        "original_max_position_embeddings":8192,"rope_type":"llama3"}})");
    config.update(changes);
    fs::create_directories(path());
    write_file(path() / "config.json", config.dump());
    for (const char* file : {"tokenizer.model", "tokenizer_config.json"})
      write_file(path() / file, read_file(fs::path(KVVIZ_DATA) / "models/demo" / file));
  }
  fs::path path() const { return folder_.path() / "model"; }

 private:
  test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("[models info] Llama 3.2 1B as published: parameters, cache of a token, context that fits") {
  const Folder model;
  const auto run = run_kvviz({"models", "info", model.path().string(), "--json", "-"}, model.path());
  REQUIRE_MESSAGE(run.code == 0, run.err);
  const json card = json::parse(run.out);
  const auto fact = [&](const char* key) { return card.at("summary").at(key); };
  CHECK(fact("parameters") == 1235814400);
  CHECK(fact("layers") == 16);
  CHECK(fact("kv_heads") == 8);
  CHECK(fact("bytes_per_token") == 2 * 16 * 8 * 64 * 2);
  CHECK(fact("cache_bytes") == 2048 * 32768);
  CHECK(fact("weights_bytes") == 2 * int64_t{1235814400});
  CHECK(fact("positions") == "RoPE, theta 500000, llama3 scaling by 32 from a context of 8192");
  CHECK(fact("window") == "none");
  CHECK(row(card, "longest_context", {{"memory", "8GiB"}})["f16"] ==
        (8589934592 - 2 * int64_t{1235814400}) / 32768);
  CHECK(row(card, "projection", {{"tokens", 8192}})["bytes"] == 8192 * 32768);
  CHECK(row(card, "projections", {{"projection", "layer 0: key"}})["shape"] == "512 x 2048");
}

TEST_CASE("[models info] layers that differ are told apart; a GGUF file and the shipped model have cards") {
  const fs::path fixtures = fs::path(KVVIZ_FIXTURES) / "models";
  const test::TemporaryFolder folder;
  const auto card_of = [&](const std::string& model) {
    const auto run = run_kvviz({"models", "info", model, "--json", "-"}, folder.path());
    REQUIRE_MESSAGE(run.code == 0, run.err);
    return json::parse(run.out);
  };
  const json gemma = card_of(fixtures / "gemma2");
  CHECK(gemma.at("tables").at("model_layers").at("rows").size() == 2);
  CHECK(holds(gemma.at("summary").at("window"), "tokens in 1 of 2 layers"));
  const json mixture = card_of(fixtures / "qwen2_moe");
  CHECK(holds(mixture.at("summary").at("experts"), "2 of 4 for a token, in 1 of 2 layers"));
  for (const char* gguf : {"falcon_40b.gguf", "parts"})
    CHECK(card_of(fixtures / "../gguf" / gguf).at("summary").at("parameters") == 12992);
  CHECK(card_of("demo").at("summary").at("parameters") == 1051264);
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("[memory] a model that cannot fit is refused with the numbers before any weight is read") {
  // 1,000 layers of Llama 3.2 1B: 243 GB of weights.
  const Folder model({{"num_hidden_layers", 1000}, {"vocab_size", 2048}});
  const std::vector<std::string> analyze = {"analyze", "--model", model.path().string(), "--prompt",
                                            "some words"};
  const auto run = run_kvviz(analyze, model.path());
  CHECK(run.code == 1);
  CHECK_MESSAGE(holds(run.err, "needs about 243"), run.err);
  CHECK(holds(run.err, "leaves "));
  CHECK(holds(run.err, "--dtype bf16 would still need 122"));
  auto forced = analyze;
  forced.push_back("--force");
  const auto tried = run_kvviz(forced, model.path());
  CHECK(tried.code == 1);
  CHECK_MESSAGE(holds(tried.err, "no weights"), tried.err);
  CHECK_FALSE(fs::exists(model.path() / "results"));
}

TEST_CASE("[dtype] a run says what its matrices were kept in, and the numbers are close") {
  const test::TemporaryFolder folder;
  const auto analyze = [&](const char* dtype) {
    return test::result_of({"analyze", "--focus", "layers", "--dtype", dtype}, folder.path());
  };
  const json exact = analyze("auto"), half = analyze("f16"), brain = analyze("bf16");
  CHECK(exact.at("provenance").at("dtype") == "f32");
  CHECK(half.at("provenance").at("dtype") == "f16");
  CHECK(brain.at("provenance").at("dtype") == "bf16");
  CHECK(brain.at("provenance").at("stored_dtype") == "f16");
  // Products of bf16 round their inputs where the processor has instructions for them.
  const std::string products = brain.at("provenance").at("bf16_products");
  CHECK_MESSAGE((products.starts_with("oneDNN ") || products.starts_with("widened to f32: ")), products);
  CHECK_FALSE(half.at("provenance").contains("bf16_products"));
  const auto perplexity = [](const json& result) {
    return result.at("summary").at("perplexity").get<double>();
  };
  // The shipped weights are stored in f16: keeping them so changes nothing.
  CHECK(perplexity(half) == doctest::Approx(perplexity(exact)).epsilon(1e-6));
  CHECK(perplexity(brain) == doctest::Approx(perplexity(exact)).epsilon(0.02));
  CHECK(perplexity(brain) != perplexity(exact));
}
