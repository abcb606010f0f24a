// SPDX-License-Identifier: MIT
#include "kvviz/formats/gguf_model.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/model/checkpoint.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/session.hpp"
#include "support/fixture.hpp"
#include "support/gguf_writer.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
namespace fs = std::filesystem;

namespace {

const fs::path fixtures = fs::path(KVVIZ_FIXTURES) / "gguf";

struct Case {
  const char* name;
  const char* dtype;
};
constexpr Case cases[] = {
    {"llama_plain", "f32"}, {"llama_q8_0", "q8_0"}, {"llama_mixed", "q8_0"}, {"llama_k", "q6_K"},
    {"llama_low", "q2_K"},  {"mixtral", "q4_0"},    {"qwen2", "q4_0"},       {"qwen2_moe", "q4_0"},
    {"qwen3", "q4_0"},      {"qwen3_moe", "q4_0"},  {"gemma", "q4_0"},       {"gemma2", "q4_0"},
    {"phi2", "q4_0"},       {"phi3", "q4_0"},       {"gpt2", "q4_0"},        {"gpt_neox", "q4_0"},
    {"bloom", "q4_0"},      {"falcon_7b", "q4_0"},  {"falcon_40b", "q4_0"},  {"mpt", "q4_0"},
};

// The smallest llama that has every tensor: one layer of two heads.
test::GgufWriter tiny_llama() {
  test::GgufWriter file;
  file.text("general.architecture", "llama");
  file.u32("llama.context_length", 16);
  file.u32("llama.embedding_length", 4);
  file.u32("llama.block_count", 1);
  file.u32("llama.feed_forward_length", 4);
  file.u32("llama.attention.head_count", 2);
  file.f32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"})
    file.tensor(cat("blk.0.", name, ".weight"), {4, 4}, std::vector<float>(16, 0.25F));
  for (const char* name : {"blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"})
    file.tensor(name, {4}, std::vector<float>(4, 1));
  file.tensor("token_embd.weight", {8, 4}, std::vector<float>(32, 0.5F));
  return file;
}

void check_refused(const test::GgufWriter& file, const char* message) {
  const test::TemporaryFolder folder;
  file.write(folder / "model.gguf");
  CHECK_THROWS_WITH_AS(load_model(folder / "model.gguf"), doctest::Contains(message), DataError);
}

void check_logits(const LoadedModel& model, const std::string& name) {
  const test::Expected expected(fixtures / "expected.safetensors");
  const at::Tensor input = expected.tensor(name + ".input_ids");
  const auto* first = input.data_ptr<int64_t>();
  const std::vector<int32_t> ids(first, first + input.numel());
  Session session(model.decoder);
  test::check_near(model.decoder.logits(session.extend(ids)), expected.tensor(name + ".logits"), 2e-5);
}

}  // namespace

TEST_CASE("[gguf_model] every architecture and type computes the logits that transformers computes") {
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(fixtures)) files += entry.path().extension() == ".gguf";
  CHECK(files == std::size(cases));
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const LoadedModel model = load_model(fixtures / cat(c.name, ".gguf"));
    CHECK(model.stored_dtype == c.dtype);
    check_logits(model, c.name);
  }
}

TEST_CASE("[gguf_model] a model in parts, by its first file and by its folder, is the model in one file") {
  const fs::path folder = fixtures / "parts";
  std::vector<fs::path> files;
  for (const char* part : {"1", "2", "3"})
    files.push_back(folder / cat("falcon_40b-0000", part, "-of-00003.gguf"));
  for (const fs::path& named : {files.front(), folder}) {
    CAPTURE(named);
    const LoadedModel model = load_model(named);
    CHECK(model.files == files);
    check_logits(model, "falcon_40b");
  }
  CHECK(read_config(folder) == read_config(fixtures / "falcon_40b.gguf"));
  CHECK_THROWS_WITH_AS(load_model(files[1]), doctest::Contains("part 2 of 3 of a model; name the first"),
                       DataError);
}

TEST_CASE("[gguf_model] a folder with one GGUF file is that model; several have to be told apart") {
  const test::TemporaryFolder folder;
  fs::copy_file(fixtures / "gpt2.gguf", folder / "gpt2.gguf");
  const LoadedModel model = load_model(folder.path());
  CHECK(model.decoder.config().layers.size() == 2);
  CHECK(model.files == std::vector<fs::path>{folder / "gpt2.gguf"});
  fs::copy_file(fixtures / "bloom.gguf", folder / "bloom.gguf");
  CHECK_THROWS_WITH_AS(load_model(folder.path()), doctest::Contains("bloom.gguf, gpt2.gguf"), DataError);
}

TEST_CASE("[gguf_model] the tied head, the sliding window, RoPE scaling by name") {
  const auto config = [](const test::GgufWriter& file) {
    const std::string bytes = file.bytes();
    return gguf_config(GgufFile::parse(std::as_bytes(std::span(bytes)), "test.gguf"));
  };
  CHECK(config(tiny_llama()).at("tie_word_embeddings") == true);
  test::GgufWriter untied = tiny_llama();
  untied.tensor("output.weight", {8, 4}, std::vector<float>(32, 0.5F));
  CHECK(config(untied).at("tie_word_embeddings") == false);
  test::GgufWriter window = tiny_llama();
  window.u32("llama.attention.sliding_window", 5);
  CHECK(config(window).at("model_type") == "mistral");
  CHECK(config(window).at("sliding_window") == 5);
  test::GgufWriter yarn = tiny_llama();
  yarn.text("llama.rope.scaling.type", "yarn");
  yarn.f32("llama.rope.scaling.factor", 4);
  yarn.u32("llama.rope.scaling.original_context_length", 8);
  CHECK(config(yarn).at("rope_scaling") ==
        nlohmann::json{{"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 8}});
  test::GgufWriter freqs = tiny_llama();
  freqs.tensor("rope_freqs.weight", {1}, {2.5F});
  CHECK(config(freqs).at("rope_scaling").at("long_factor") == nlohmann::json{2.5});
  freqs.text("llama.rope.scaling.type", "linear");
  CHECK_THROWS_WITH_AS(config(freqs), doctest::Contains("both by linear"), DataError);
}

TEST_CASE("[gguf_model] what would be run wrongly is refused by name") {
  test::GgufWriter other;
  other.text("general.architecture", "mamba");
  check_refused(other, "mamba is not supported in GGUF files; supported: llama");
  test::GgufWriter scaled = tiny_llama();
  scaled.f32("llama.attention.scale", 0.5F);
  check_refused(scaled, "llama.attention.scale is not supported");
  test::GgufWriter rope = tiny_llama();
  rope.text("llama.rope.scaling.type", "longrope");
  check_refused(rope, "RoPE scaling longrope");
  test::GgufWriter partial = tiny_llama();
  partial.u32("llama.rope.dimension_count", 1);
  check_refused(partial, "RoPE over 1 of 2");
  test::GgufWriter split = tiny_llama();
  split.u32("split.count", 2);
  check_refused(split, "one of 2 files of a model");
  test::GgufWriter layers = tiny_llama();
  layers.i32s("llama.attention.head_count_kv", {2, 1});
  check_refused(layers, "differs from layer to layer");
  test::GgufWriter strange = tiny_llama();
  strange.tensor("blk.0.attn_sinks.weight", {4}, std::vector<float>(4, 1));
  check_refused(strange, "the weights hold blk.0.attn_sinks.weight");
  test::GgufWriter blocks = tiny_llama();
  blocks.tensor_bytes("output.weight", {8, 256}, "IQ2_XS", std::string(8 * 74, '\0'));
  check_refused(blocks, "the shape [8,256]");
  test::GgufWriter nan = tiny_llama();
  nan.tensor("output.weight", {8, 4}, std::vector<float>(32, NAN));
  check_refused(nan, "NaN");
}

TEST_CASE("[gguf_model] counts that would take all memory are refused") {
  test::GgufWriter heads;
  heads.text("general.architecture", "llama");
  heads.u32("llama.attention.head_count", 3);
  heads.u32("llama.attention.head_count_kv", 0);
  const std::string bytes = heads.bytes();
  CHECK_THROWS_WITH_AS(gguf_tensors(GgufFile::parse(std::as_bytes(std::span(bytes)), "x.gguf")),
                       doctest::Contains("cannot be shared out"), DataError);
  test::GgufWriter empty = tiny_llama();
  empty.tensor_bytes("blk.1.attn_q.weight", {int64_t{1} << 60, 0}, "F32", "");
  check_refused(empty, "cannot be taken apart");
}

TEST_CASE("[gguf_model] types that are not widened are refused with those that are") {
  StoredTensor stored{"IQ2_XS", {1, 256}, {}, nullptr};
  CHECK_THROWS_WITH_AS(require_readable(stored, "x.gguf: output.weight"),
                       doctest::Contains("IQ2_XS; supported: F32, F16, BF16, Q8_0"), DataError);
  stored.dtype = "F8_E4M3";
  CHECK_THROWS_WITH_AS(require_readable(stored, "x: a"),
                       doctest::Contains("Use the same model in bf16 or f16"), DataError);
}
