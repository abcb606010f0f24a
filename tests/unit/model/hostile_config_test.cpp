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
  };
  for (const Case& c : cases) {
    CAPTURE(c.model);
    CAPTURE(c.pointer);
    const std::string got = refusal(c.model, c.pointer, c.value);
    INFO(got);
    CHECK(test::holds(got, c.message));
  }
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
