// SPDX-License-Identifier: MIT
// config.json from outside: what it must not be, each key with its message, and every key of every fixture
// with values that nobody meant.
#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "fuzz/model_use.hpp"
#include "kvviz/core/atomic_file.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using nlohmann::json;

namespace {

const std::filesystem::path models = std::filesystem::path(KVVIZ_FIXTURES) / "models";

json config_of(const std::string& name) {
  return json::parse(read_file(models / name / "config.json"));
}

std::string refusal(const std::string& name, const std::string& pointer, const json& value) {
  json config = config_of(name);
  config[json::json_pointer(pointer)] = value;
  return test::message_of<DataError>([&] { parse_config(config); });
}

json nested(int levels) {
  json inner = 1;
  for (int i = 0; i < levels; ++i) inner = json::array({std::move(inner)});
  return inner;
}

// Pointers to all values, with those inside objects and lists.
std::vector<json::json_pointer> places(const json& config) {
  std::vector<json::json_pointer> all;
  const json flat = config.flatten();
  for (const auto& [pointer, value] : flat.items()) all.emplace_back(pointer);
  return all;
}

}  // namespace

TEST_CASE("[config] a number that cannot be is refused by its key, with what was got and expected") {
  struct Case {
    const char *model, *pointer;
    json value;
    const char* message;
  };
  const Case cases[] = {
      {"llama_gqa", "/num_hidden_layers", 1000000000,
       "num_hidden_layers is 1000000000; expected a whole number from 1 to 1024"},
      {"llama_gqa", "/num_hidden_layers", nullptr, "num_hidden_layers is missing; expected a whole number"},
      {"llama_gqa", "/num_hidden_layers", 2.5, "num_hidden_layers is 2.5; expected a whole number"},
      {"llama_gqa", "/num_hidden_layers", "2", "num_hidden_layers is \"2\"; expected a whole number"},
      {"llama_gqa", "/num_hidden_layers", true, "num_hidden_layers is true; expected a whole number"},
      {"llama_gqa", "/hidden_size", UINT64_MAX, "hidden_size is 18446744073709551615; expected"},
      {"llama_gqa", "/hidden_size", 1e300, "hidden_size is 1e+300; expected a whole number"},
      {"llama_gqa", "/hidden_size", -32, "hidden_size is -32; expected a whole number from 1 to 1048576"},
      {"llama_gqa", "/num_attention_heads", 0, "num_attention_heads is 0; expected"},
      {"llama_gqa", "/num_attention_heads", 1 << 20, "expected 1048576 channels at most"},
      {"llama_gqa", "/num_key_value_heads", -2, "num_key_value_heads is -2"},
      {"llama_gqa", "/vocab_size", INT64_MAX, "vocab_size is 9223372036854775807"},
      {"llama_gqa", "/max_position_embeddings", 1e18, "max_position_embeddings is 1e+18"},
      {"llama_gqa", "/rms_norm_eps", -1, "the epsilon of the norms is -1"},
      {"llama_gqa", "/rms_norm_eps", 1e200, "the epsilon of the norms is 1e+200"},
      {"llama_gqa", "/rope_theta", -1, "rope_theta is -1"},
      {"llama_gqa", "/rope_theta", 1e-200, "radians a token"},
      {"llama_gqa", "/rope_scaling", "yarn", "rope_scaling is \"yarn\"; expected an object"},
      {"llama_gqa", "/tie_word_embeddings", 1, "tie_word_embeddings is 1; expected true or false"},
      {"llama_gqa", "/hidden_act", {"silu"}, "hidden_act is [\"silu\"]; expected text"},
      {"llama_gqa", "/architectures", "LlamaForCausalLM", "architectures is \"LlamaForCausalLM\"; expected"},
      {"llama_dynamic_rope", "/rope_scaling/factor", 1e300, "RoPE scaling factor 1e+300"},
      {"llama_dynamic_rope", "/rope_scaling/factor", nullptr, "factor is missing; expected a finite number"},
      {"llama_dynamic_rope", "/max_position_embeddings", 1 << 28, "expected 1 to 268435456"},
      {"llama_yarn_given", "/rope_scaling/attention_factor", 0, "attention factor of 0"},
      {"phi3_longrope", "/rope_scaling/long_factor/0", 0, "long_factor 0; expected more than 0"},
      {"phi3_longrope", "/rope_scaling/long_factor/0", "a", "an element of long_factor is \"a\"; expected"},
      {"phi3_longrope", "/sliding_window", -1, "sliding_window is -1"},
      {"phi", "/partial_rotary_factor", 1e300, "RoPE over 1e+300 of the channels"},
      {"gptj", "/rotary_dim", 1e9, "rotary_dim is 1000000000.0"},
      {"gpt2", "/n_layer", 1000000000, "n_layer is 1000000000; expected a whole number from 1 to 1024"},
      {"gpt2", "/n_positions", 0, "n_positions is 0; expected"},
      {"mixtral", "/num_local_experts", 1000000000,
       "num_local_experts is 1000000000; expected a whole number from 1 to 4096"},
      {"mixtral", "/num_experts_per_tok", 0, "num_experts_per_tok is 0; expected"},
      {"qwen3_moe", "/moe_intermediate_size", 1LL << 40, "moe_intermediate_size is 1099511627776"},
      {"qwen2_moe", "/decoder_sparse_step", 0, "decoder_sparse_step is 0"},
      {"gemma2_layer_types", "/layer_types", 1, "layer_types is 1; expected a list"},
      {"gemma2_layer_types", "/layer_types/0", 1, "an element of layer_types is 1; expected text"},
      {"mpt", "/attn_config", 5, "attn_config is 5; expected an object"},
      {"mpt", "/expansion_ratio", 4.5, "expansion_ratio 4.5 is not supported; supported: 4"},
      {"mpt_clip", "/attn_config/alibi_bias_max", -1e5, "an ALiBi slope is inf"},
      {"mpt_clip", "/attn_config/clip_qkv", -1, "the clip of queries, keys and values is -1"},
      {"llama_gqa", "/anything", nested(100), "nested more than 64 levels deep"},
      {"llama_longrope", "/rope_scaling/factor", 1e300, "RoPE scaling factor 1e+300"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.model);
    CAPTURE(c.pointer);
    const std::string got = refusal(c.model, c.pointer, c.value);
    INFO(got);
    CHECK(test::holds(got, c.message));
  }
}

TEST_CASE(
    "[config] what transformers would not read, or versions of it read differently, is refused by name") {
  struct Case {
    const char *model, *pointer;
    json value;
    const char* message;
  };
  const json nested_rope = {{"full_attention", {{"rope_type", "default"}}}};
  const Case cases[] = {
      {"qwen2", "/is_causal", false, "is_causal false is not supported for qwen2; supported: true"},
      {"gemma", "/use_bidirectional_attention", true, "use_bidirectional_attention true is not supported"},
      {"llama", "/attention_multiplier", 0.5,
       "attention_multiplier 0.5 is not supported for llama; supported: 1"},
      {"llama", "/logits_scaling", 4.0, "logits_scaling 4.0 is not supported for llama"},
      {"llama", "/sliding_window", 4, "sliding_window 4 is not supported for llama"},
      {"llama", "/rope_interleaved", true, "rope_interleaved true is not supported for llama"},
      {"llama", "/no_rope_layers", {1, 0}, "no_rope_layers [1,0] is not supported for llama"},
      {"llama", "/clip_qkv", 0.5, "clip_qkv 0.5 is not supported for llama"},
      {"gemma", "/final_logit_softcapping", 30.0, "final_logit_softcapping 30.0 is not supported for gemma;"},
      {"mistral", "/use_sliding_window", false, "use_sliding_window false is not supported for mistral"},
      {"mixtral",
       "/layer_types",
       {"sliding_attention", "full_attention"},
       "layer_types has \"sliding_attention\""},
      {"llama", "/layer_types", {"full_attention", "sliding_attention"}, "for layer 1, which has none"},
      {"llama", "/model_type", "mistral", "LlamaForCausalLM and the model_type \"mistral\" contradict"},
      {"qwen3_moe", "/num_local_experts", 5, "num_experts is 4 and num_local_experts is 5"},
      {"gemma", "/hidden_activation", "silu", "hidden_activation \"silu\" differ"},
      {"gpt_neox", "/rope_theta", 77, "rope_theta 77 is not supported; supported: 500.0"},
      {"gpt_neox", "/partial_rotary_factor", 0.5,
       "partial_rotary_factor 0.5 is not supported; supported: 0.25"},
      {"llama", "/partial_rotary_factor", 0.5, "partial_rotary_factor 0.5 is not supported; supported: 1"},
      {"llama", "/rope_parameters/partial_rotary_factor", 0.5, "partial_rotary_factor 0.5 is not supported"},
      {"llama", "/rope_parameters", nested_rope, "by the type of a layer (full_attention) are not supported"},
      {"llama_linear_rope", "/rope_scaling/rope_type", "dynamic",
       "the rope_type \"dynamic\" and the type \"linear\""},
      {"llama_yarn", "/original_max_position_embeddings", 16, "is 16 beside the RoPE scaling and 48 in it"},
      {"phi3_longrope", "/rope_scaling/factor", 3.0, "the factor 3, and its contexts have the ratio 8"},
      {"phi3",
       "/rope_scaling",
       {{"type", "linear"}, {"factor", 2.0}},
       "other than longrope is not supported"},
      {"bloom", "/pretraining_tp", 2, ""},
      {"mpt", "/norm_type", "rmsnorm", "norm_type rmsnorm is not supported"},
      {"mpt",
       "/ffn_config/ffn_act_fn",
       {{"name", "silu"}},
       "ffn_act_fn {\"name\":\"silu\"} is not supported"},
      {"mpt", "/attn_config/sliding_window_size", 4, "sliding_window_size 4 is not supported"},
      {"mpt", "/attn_config/rope", true, "rope true is not supported"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.model);
    CAPTURE(c.pointer);
    const std::string got = refusal(c.model, c.pointer, c.value);
    INFO(got);
    CHECK((*c.message == 0 ? got.empty() : test::holds(got, c.message)));
  }
  json bloom = config_of("bloom");
  bloom.update({{"pretraining_tp", 2}, {"slow_but_exact", true}});
  CHECK(test::message_of<DataError>([&] { parse_config(bloom); }) ==
        "config.json: slow_but_exact true is not supported; supported: false");
}

TEST_CASE("[config] keys of other models that say nothing are let through") {
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, json>>{{"is_causal", true},
                                                 {"logits_scaling", 1.0},
                                                 {"sliding_window", nullptr},
                                                 {"query_pre_attn_scalar", nullptr},
                                                 {"no_rope_layers", json::array()},
                                                 {"layer_types", {"full_attention", "full_attention"}}})
    CHECK_MESSAGE(refusal("llama", "/" + key, value).empty(), key);
  json config = config_of("llama");
  config.update({{"sliding_window", 4096}, {"use_sliding_window", false}});
  CHECK_NOTHROW(parse_config(config));
}

TEST_CASE("[config] architectures or model_type alone name the model") {
  json config = config_of("mistral");
  for (const char* key : {"model_type", "architectures"}) {
    for (const bool null : {false, true}) {
      json one = config;
      one.erase(key);
      if (null) one[key] = nullptr;
      const ModelConfig parsed = parse_config(one);
      CHECK(parsed.architecture == "MistralForCausalLM");
      CHECK(parsed.layers.front().window == 7);
    }
  }
  config = config_of("mixtral");
  config.erase("architectures");
  CHECK(parse_config(config).architecture == "MixtralForCausalLM");
  config.erase("model_type");
  CHECK(test::holds(test::message_of<DataError>([&] { parse_config(config); }),
                    "names neither architectures nor a model_type"));
}

TEST_CASE("[config] null where Mistral has a default number of KV heads: as many as query heads") {
  json config = config_of("mistral");
  config["num_attention_heads"] = 16;
  config["num_key_value_heads"] = nullptr;
  CHECK(parse_config(config).layers.front().kv_heads == 16);
  config.erase("num_key_value_heads");
  CHECK(parse_config(config).layers.front().kv_heads == 8);
}

TEST_CASE("[config] the context under RoPE scaling is what the model can read with it") {
  struct Case {
    json scaling;
    int64_t given, context;
  };
  const json llama3 = {{"rope_type", "llama3"},
                       {"factor", 32.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 8192}};
  const Case cases[] = {
      {nullptr, 4096, 4096},
      {{{"type", "linear"}, {"factor", 4.0}}, 4096, 16384},  // vicuna-7b-v1.5-16k
      {{{"type", "dynamic"}, {"factor", 2.0}}, 4096, 8192},
      {{{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}},
       32768,
       131072},  // Qwen2.5's card
      {{{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}}, 131072, 131072},
      {{{"type", "yarn"}, {"factor", 4.0}}, 2048, 8192},
      {llama3, 131072, 131072},  // Llama 3.2
  };
  for (const Case& c : cases) {
    json config = config_of("llama_gqa");
    config.update({{"rope_scaling", c.scaling}, {"max_position_embeddings", c.given}});
    CAPTURE(config.dump());
    CHECK(parse_config(config).context == c.context);
  }
}

TEST_CASE("[config] yarn: truncate null is false, as in Python") {
  json config = config_of("llama_yarn");
  CHECK(parse_config(config).rope.whole_pairs);
  config["rope_scaling"]["truncate"] = nullptr;
  CHECK_FALSE(parse_config(config).rope.whole_pairs);
}

TEST_CASE("[config] experts of all layers together are bounded") {
  json config = config_of("mixtral");
  config["num_local_experts"] = 4096;
  config["num_hidden_layers"] = 33;
  CHECK(test::message_of<DataError>([&] { parse_config(config); }) ==
        "config.json: got 135168 experts in 33 layers; expected 131072 at most");
}

TEST_CASE("[config] long values are cut in messages") {
  CHECK(refusal("llama_gqa", "/hidden_size", std::string(10000, 'x')).size() < 200);
  CHECK(refusal("llama_gqa", "/architectures", {std::string(10000, 'x')}).size() < 1000);
}

TEST_CASE("[config] whole numbers may be written as floats") {
  CHECK(refusal("llama_gqa", "/max_position_embeddings", 64.0).empty());
}

TEST_CASE("[config] the largest model that is let through has sums that fit") {
  json config = config_of("llama");
  for (const auto& [key, value] : {std::pair{"hidden_size", 1 << 20},
                                   {"intermediate_size", 1 << 20},
                                   {"num_hidden_layers", 1024},
                                   {"num_attention_heads", 1 << 13},
                                   {"num_key_value_heads", 1 << 13},
                                   {"vocab_size", 1 << 24},
                                   {"max_position_embeddings", 1 << 28}})
    config[key] = value;
  config.erase("head_dim");
  CHECK_NOTHROW(test::use(parse_config(config)));
}

TEST_CASE("[config] any value at any place of any fixture is refused or can be used") {
  const std::vector<json> strange = {nullptr,
                                     true,
                                     0,
                                     1,
                                     -1,
                                     3,
                                     1000000000,
                                     int64_t{1} << 40,
                                     INT64_MAX,
                                     INT64_MIN,
                                     UINT64_MAX,
                                     0.5,
                                     -1e300,
                                     1e300,
                                     1e-300,
                                     std::nan(""),
                                     INFINITY,
                                     "",
                                     "x",
                                     json::array(),
                                     json::object(),
                                     nested(20)};
  int64_t refused = 0, used = 0;
  for (const auto& folder : std::filesystem::directory_iterator(models)) {
    if (!folder.is_directory()) continue;
    const json config = config_of(folder.path().filename());
    for (const json::json_pointer& place : places(config)) {
      for (const json& value : strange) {
        json changed = config;
        changed[place] = value;
        CAPTURE(folder.path().filename().string());
        CAPTURE(place.to_string());
        CAPTURE(value.dump());
        const auto start = std::chrono::steady_clock::now();
        try {
          const ModelConfig parsed = parse_config(changed);
          CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
          ++used;
          CHECK_NOTHROW(test::use(parsed));
        } catch (const DataError& error) {
          ++refused;
          CHECK(std::string(error.what()).starts_with("config.json"));
        }
      }
    }
  }
  CHECK(refused > 5000);
  CHECK(used > 5000);
}
