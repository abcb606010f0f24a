// SPDX-License-Identifier: MIT
#include "kvviz/model/load.hpp"

#include <ATen/ops/full.h>
#include <doctest/doctest.h>

#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/model/checkpoint.hpp"
#include "kvviz/model/safetensors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const fs::path models = fs::path(KVVIZ_FIXTURES) / "models";

// A copy of a fixture model that a test may spoil.
class Spoiled {
 public:
  explicit Spoiled(const char* name) : config(json::parse(read_file(models / name / "config.json"))) {
    const Checkpoint checkpoint = Checkpoint::open(models / name);
    for (const auto& [tensor, stored] : checkpoint.tensors()) tensors[tensor] = borrowed(stored)->clone();
  }
  const fs::path& write() const {
    write_file(folder_.path() / "config.json", config.dump());
    write_safetensors(folder_.path() / "model.safetensors", tensors, {});
    return folder_.path();
  }
  void check_refused(const char* message) const {
    CHECK_THROWS_WITH_AS(load_model(write()), doctest::Contains(message), DataError);
  }
  json config;
  std::map<std::string, at::Tensor> tensors;

 private:
  test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("[load] the unspoiled copy loads") {
  CHECK_NOTHROW(load_model(Spoiled("llama_gqa").write()));
  CHECK_NOTHROW(load_model(Spoiled("gpt2").write()));
}

TEST_CASE("[load] the dtype on disk is reported") {
  CHECK(load_model(models / "llama_gqa").stored_dtype == "f32");
  CHECK(load_model(models / "llama_bf16").stored_dtype == "bf16");
  CHECK(load_model(models / "llama_f16").stored_dtype == "f16");
}

TEST_CASE("[load] a missing, misshaped, strange or NaN tensor is named") {
  const char* name = "model.layers.1.self_attn.k_proj.weight";
  Spoiled missing("llama_gqa"), shape("llama_gqa"), strange("llama_gqa"), nan("llama_gqa"), type("llama_gqa");
  missing.tensors.erase(name);
  missing.check_refused(name);
  shape.tensors[name] = shape.tensors[name].t().contiguous();
  shape.check_refused("has the shape");
  strange.tensors["model.layers.0.self_attn.q_norm.weight"] = at::full({8}, 1.0F);
  strange.check_refused("q_norm");
  nan.tensors[name][0][0] = std::numeric_limits<float>::quiet_NaN();
  nan.check_refused("NaN");
  type.tensors[name] = type.tensors[name].to(at::kLong);
  type.check_refused("supported: F32, F16, BF16");
}

TEST_CASE("[load] tensors that transformers leaves aside are left aside") {
  Spoiled tied("gpt_neox"), untied("gpt_neox"), opt("opt"), bare("llama_gqa");
  untied.tensors["lm_head.weight"] = untied.tensors["embed_out.weight"].clone();
  untied.check_refused("lm_head.weight");
  tied.config["tie_word_embeddings"] = true;
  CHECK_NOTHROW(load_model(tied.write()));
  opt.tensors["model.decoder.version"] = at::full({1}, 3.0F);
  CHECK_NOTHROW(load_model(opt.write()));
  bare.tensors["rotary_emb.inv_freq"] = at::full({6}, 1.0F);
  CHECK_NOTHROW(load_model(bare.write()));
}

TEST_CASE("[load] what is not supported is named, with what is") {
  Spoiled architecture("llama_gqa"), scaling("llama3_rope"), act("llama_gqa"), heads("llama_gqa"),
      gap("llama_gqa");
  architecture.config["architectures"] = {"MambaForCausalLM"};
  architecture.check_refused("MambaForCausalLM is not supported; supported: GPT2LMHeadModel");
  scaling.config["rope_scaling"]["rope_type"] = "ntk";
  scaling.check_refused("ntk is not supported; supported: default, linear, dynamic, llama3, yarn, longrope");
  act.config["hidden_act"] = "quick_gelu";
  act.check_refused("quick_gelu is not supported; supported: gelu, ");
  heads.config["num_key_value_heads"] = 3;
  heads.check_refused("cannot be shared out");
  gap.config.erase("num_hidden_layers");
  gap.check_refused("num_hidden_layers");
}

TEST_CASE("[load] missing folders and files say what is expected") {
  const test::TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(load_model(folder.path() / "none"), doctest::Contains("does not exist"), DataError);
  CHECK_THROWS_WITH_AS(load_model(folder.path()), doctest::Contains("no config.json"), DataError);
  write_file(folder.path() / "config.json", "{");
  CHECK_THROWS_WITH_AS(load_model(folder.path()), doctest::Contains("not JSON"), DataError);
  write_file(folder.path() / "config.json", R"({"embd_pdrop": NaN})");
  CHECK_THROWS_WITH_AS(load_model(folder.path()), doctest::Contains("NaN and Infinity, which Python writes"),
                       DataError);
  write_file(folder.path() / "config.json", read_file(models / "llama" / "config.json"));
  CHECK_THROWS_WITH_AS(load_model(folder.path()), doctest::Contains("no weights"), DataError);
}

TEST_CASE("[load] config.json alone gives parameters and cache size") {
  // GPT-2 small's published shape: 124,439,808 parameters and 2 x 12 x 768 cached numbers a token.
  const test::TemporaryFolder folder;
  write_file(
      folder.path() / "config.json",
      R"({"architectures":["GPT2LMHeadModel"],"model_type":"gpt2","n_embd":768,"n_head":12,"n_layer":12,
                 "n_positions":1024,"vocab_size":50257})");
  const ModelConfig config = load_config(folder.path());
  CHECK(config.parameters() == 124439808);
  CHECK(config.cache_bytes_per_token(2) == 36864);
}

TEST_CASE("[load] quantised weights, an adapter, a pointer of Git LFS and too few layer_types are named") {
  Spoiled quantised("llama_gqa"), types("gemma2_layer_types");
  quantised.config["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
  quantised.check_refused("quantised (gptq), which is not supported; use the original checkpoint");
  types.config["layer_types"] = {"full_attention"};
  types.check_refused("layer_types names 1 layers; num_hidden_layers is");
  const test::TemporaryFolder folder;
  write_file(folder.path() / "config.json", read_file(models / "llama" / "config.json"));
  write_file(folder.path() / "adapter_model.safetensors", "x");
  CHECK_THROWS_WITH_AS(load_model(folder.path()), doctest::Contains("adapter (LoRA)"), DataError);
  write_file(folder.path() / "model.safetensors",
             "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  CHECK_THROWS_WITH_AS(load_model(folder.path()), doctest::Contains("git lfs pull"), DataError);
  CHECK_THROWS_WITH_AS(load_model(folder.path() / "config.json"), doctest::Contains("name its folder"),
                       DataError);
}
