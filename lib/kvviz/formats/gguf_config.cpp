// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/formats/gguf_keys.hpp"
#include "kvviz/formats/gguf_model.hpp"
#include "kvviz/formats/quantised_blocks.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

constexpr int64_t most_layers_and_heads = 1 << 20;

struct Heads {
  int64_t query = 0, kv = 0, dim = 0;
};

// Counts of layers and heads are also used to take tensors apart, before the configuration is parsed.
int64_t counted(GgufKeys& keys, const std::string& key, int64_t count) {
  require(count > 0 && count <= most_layers_and_heads, keys.file().name(), ": ", keys.architecture(), '.',
          key, " is ", count, "; expected 1 to ", most_layers_and_heads);
  return count;
}

Heads heads_of(GgufKeys& keys) {
  Heads heads;
  heads.query = counted(keys, "attention.head_count", keys.same_in_all_layers("attention.head_count"));
  heads.kv = counted(keys, "attention.head_count_kv",
                     keys.same_in_all_layers("attention.head_count_kv", heads.query));
  heads.dim = counted(keys, "attention.key_length",
                      keys.integer("attention.key_length", keys.integer("embedding_length") / heads.query));
  const int64_t values = keys.integer("attention.value_length", heads.dim);
  require(values == heads.dim, keys.file().name(), ": keys have ", heads.dim, " channels, values ", values,
          "; expected as many");
  return heads;
}

// What all families have, under the names of most.
json common(GgufKeys& keys, const char* architecture, const char* type) {
  keys.has("vocab_size");
  keys.has("tensor_data_layout");  // of the first llama files; says nothing that is not known
  keys.has("rope.scaling.finetuned");
  require(keys.boolean("attention.causal", true), keys.file().name(), ": ", keys.architecture(),
          ".attention.causal is false; only models that read from left to right are supported");
  const Heads heads = heads_of(keys);
  return {{"architectures", {architecture}},
          {"model_type", type},
          {"hidden_size", keys.integer("embedding_length")},
          {"vocab_size", keys.tensor("token_embd.weight", 2).shape.front()},
          {"max_position_embeddings", keys.integer("context_length")},
          {"num_hidden_layers", counted(keys, "block_count", keys.integer("block_count"))},
          {"num_attention_heads", heads.query},
          {"num_key_value_heads", heads.kv},
          {"head_dim", heads.dim},
          {"tie_word_embeddings", !keys.has_tensor("output.weight")}};
}

std::vector<float> factors(GgufKeys& keys, const std::string& name) {
  const StoredTensor& stored = keys.tensor(name, 1);
  require(stored.dtype == "F32", keys.file().name(), ": ", name, " has the dtype ", stored.dtype,
          "; expected F32");
  std::vector<float> values(static_cast<size_t>(stored.shape.front()));
  widen(stored.dtype, stored.bytes, values);
  return values;
}

void longrope(json& config, const std::vector<float>& of_short, const std::vector<float>& of_long) {
  config["rope_scaling"] = {{"rope_type", "longrope"}, {"short_factor", of_short}, {"long_factor", of_long}};
}

void named_scaling(GgufKeys& keys, json& config, const std::string& type, double factor) {
  json scaling = {{"rope_type", type}, {"factor", factor}};
  const int64_t original = keys.integer("rope.scaling.original_context_length", 0);
  if (original > 0) scaling["original_max_position_embeddings"] = original;
  if (type == "yarn") {
    require(keys.number("rope.scaling.attn_factor", 1) == 1, keys.file().name(),
            ": yarn scaling with a rope.scaling.attn_factor is not supported");
    if (keys.has("rope.scaling.yarn_beta_fast"))
      scaling["beta_fast"] = keys.number("rope.scaling.yarn_beta_fast");
    if (keys.has("rope.scaling.yarn_beta_slow"))
      scaling["beta_slow"] = keys.number("rope.scaling.yarn_beta_slow");
  }
  config["rope_scaling"] = scaling;
}

// The scaling of the frequencies: by name, or by a tensor with a factor for each.
void read_scaling(GgufKeys& keys, json& config) {
  const std::string type = keys.text("rope.scaling.type", "none");
  const double old_factor = keys.number("rope.scale_linear", 1);
  const double factor = keys.number("rope.scaling.factor", old_factor);
  const bool by_name = type == "linear" || type == "yarn";
  keys.has("rope.scaling.original_context_length");
  if (keys.has_tensor("rope_factors_long.weight")) {
    require(!by_name, keys.file().name(), ": RoPE scaling both by ", type, " and by factors");
    longrope(config, factors(keys, "rope_factors_short.weight"), factors(keys, "rope_factors_long.weight"));
    config["original_max_position_embeddings"] = keys.integer("rope.scaling.original_context_length");
    if (keys.has("rope.scaling.attn_factor"))
      config["rope_scaling"]["attention_factor"] = keys.number("rope.scaling.attn_factor");
  } else if (keys.has_tensor("rope_freqs.weight")) {
    require(!by_name, keys.file().name(), ": RoPE scaling both by ", type, " and by rope_freqs.weight");
    const std::vector<float> each = factors(keys, "rope_freqs.weight");
    longrope(config, each, each);
    config["rope_scaling"]["attention_factor"] = 1.0;
  } else if (by_name) {
    named_scaling(keys, config, type, factor);
  } else {
    require(type == "none", keys.file().name(), ": RoPE scaling ", type,
            " is not supported; supported: none, linear, yarn, and factors in tensors");
    if (factor != 1) named_scaling(keys, config, "linear", factor);
  }
}

enum class Rotary { all, part };

void read_rope(GgufKeys& keys, json& config, Rotary rotary = Rotary::all) {
  const int64_t head_dim = config.at("head_dim");
  const int64_t turned = keys.integer("rope.dimension_count", head_dim);
  require(rotary == Rotary::part || turned == head_dim, keys.file().name(), ": RoPE over ", turned, " of ",
          head_dim, " channels is not supported for ", keys.architecture());
  config["rope_theta"] = keys.number("rope.freq_base", 10000);
  if (rotary == Rotary::part)
    config["partial_rotary_factor"] = static_cast<double>(turned) / static_cast<double>(head_dim);
  read_scaling(keys, config);
}

json rms_family(GgufKeys& keys, const char* architecture, const char* type) {
  json config = common(keys, architecture, type);
  config["intermediate_size"] =
      keys.same_in_all_layers("feed_forward_length", keys.integer("expert_feed_forward_length", 0));
  config["rms_norm_eps"] = keys.number("attention.layer_norm_rms_epsilon");
  return config;
}

json llama(GgufKeys& keys) {
  const bool experts = keys.integer("expert_count", 0) > 0;
  const int64_t window = keys.integer("attention.sliding_window", 0);
  json config = experts      ? rms_family(keys, "MixtralForCausalLM", "mixtral")
                : window > 0 ? rms_family(keys, "MistralForCausalLM", "mistral")
                             : rms_family(keys, "LlamaForCausalLM", "llama");
  read_rope(keys, config);
  if (experts) {
    config["num_local_experts"] = keys.integer("expert_count");
    config["num_experts_per_tok"] = keys.integer("expert_used_count");
  } else {
    keys.integer("expert_used_count", 0);
  }
  config["sliding_window"] = window > 0 ? json(window) : json();
  const bool output_bias = keys.has_tensor("blk.0.attn_output.bias");
  config[output_bias ? "attention_bias" : "qkv_bias"] = keys.has_tensor("blk.0.attn_q.bias");
  config["mlp_bias"] = keys.has_tensor("blk.0.ffn_gate.bias");
  return config;
}

json qwen(GgufKeys& keys, const char* architecture, const char* type) {
  json config = rms_family(keys, architecture, type);
  read_rope(keys, config);
  return config;
}

void read_experts(GgufKeys& keys, json& config) {
  config["num_experts"] = keys.integer("expert_count");
  config["num_experts_per_tok"] = keys.integer("expert_used_count");
  config["moe_intermediate_size"] = keys.tensor("blk.0.ffn_down_exps.weight", 3).shape.back();
  keys.has("expert_feed_forward_length");
}

json qwen2(GgufKeys& keys) {
  return qwen(keys, "Qwen2ForCausalLM", "qwen2");
}
json qwen3(GgufKeys& keys) {
  return qwen(keys, "Qwen3ForCausalLM", "qwen3");
}
json qwen2_moe(GgufKeys& keys) {
  json config = qwen(keys, "Qwen2MoeForCausalLM", "qwen2_moe");
  read_experts(keys, config);
  config["shared_expert_intermediate_size"] = keys.tensor("blk.0.ffn_down_shexp.weight", 2).shape.back();
  keys.has("expert_shared_feed_forward_length");
  config["norm_topk_prob"] = false;
  return config;
}
json qwen3_moe(GgufKeys& keys) {
  json config = qwen(keys, "Qwen3MoeForCausalLM", "qwen3_moe");
  read_experts(keys, config);
  config["norm_topk_prob"] = true;
  return config;
}

json gemma(GgufKeys& keys) {
  json config = rms_family(keys, "GemmaForCausalLM", "gemma");
  config["hidden_activation"] = "gelu_pytorch_tanh";
  read_rope(keys, config);
  return config;
}

// The scale of attention does not stand in the file: llama.cpp knows that Gemma 2 27B, the one with 46
// layers, scales by hidden / heads, and the others by head_dim.
json gemma2(GgufKeys& keys) {
  constexpr int64_t layers_of_27b = 46;
  json config = rms_family(keys, "Gemma2ForCausalLM", "gemma2");
  config["hidden_activation"] = "gelu_pytorch_tanh";
  config["attn_logit_softcapping"] = keys.number("attn_logit_softcapping", 50);
  config["final_logit_softcapping"] = keys.number("final_logit_softcapping", 30);
  config["sliding_window"] = keys.integer("attention.sliding_window", 4096);
  const int64_t hidden = config.at("hidden_size"), heads = config.at("num_attention_heads");
  config["query_pre_attn_scalar"] =
      config.at("num_hidden_layers") == layers_of_27b ? json(hidden / heads) : config.at("head_dim");
  read_rope(keys, config);
  return config;
}

json phi3(GgufKeys& keys) {
  json config = rms_family(keys, "Phi3ForCausalLM", "phi3");
  const int64_t window = keys.integer("attention.sliding_window", 0);
  config["sliding_window"] = window > 0 ? json(window) : json();
  config["original_max_position_embeddings"] =
      keys.integer("rope.scaling.original_context_length", config.at("max_position_embeddings"));
  read_rope(keys, config, Rotary::part);
  return config;
}

json layer_norm_family(GgufKeys& keys, const char* architecture, const char* type) {
  json config = common(keys, architecture, type);
  const double eps = keys.number("attention.layer_norm_epsilon");
  for (const char* name : {"layer_norm_eps", "layer_norm_epsilon"}) config[name] = eps;
  config["intermediate_size"] =
      keys.same_in_all_layers("feed_forward_length", 4 * config.at("hidden_size").get<int64_t>());
  return config;
}

// The tanh form of GELU is what llama.cpp runs in all of these but where it is said otherwise.
json phi2(GgufKeys& keys) {
  json config = layer_norm_family(keys, "PhiForCausalLM", "phi");
  config["hidden_act"] = "gelu_new";
  keys.has("attention.layer_norm_rms_epsilon");
  keys.has("attention.add_bos_token");
  read_rope(keys, config, Rotary::part);
  return config;
}

json gpt_neox(GgufKeys& keys) {
  json config = layer_norm_family(keys, "GPTNeoXForCausalLM", "gpt_neox");
  config["hidden_act"] = "gelu";
  config["use_parallel_residual"] = keys.boolean("use_parallel_residual", true);
  read_rope(keys, config, Rotary::part);
  config["rotary_emb_base"] = config["rope_theta"];
  config["rotary_pct"] = config["partial_rotary_factor"];
  return config;
}

// Families whose configuration has its own names for the counts.
json gpt2(GgufKeys& keys) {
  json config = layer_norm_family(keys, "GPT2LMHeadModel", "gpt2");
  return {{"architectures", config["architectures"]},
          {"model_type", "gpt2"},
          {"n_embd", config["hidden_size"]},
          {"vocab_size", config["vocab_size"]},
          {"n_positions", config["max_position_embeddings"]},
          {"n_layer", config["num_hidden_layers"]},
          {"n_head", config["num_attention_heads"]},
          {"n_inner", config["intermediate_size"]},
          {"layer_norm_epsilon", config["layer_norm_epsilon"]},
          {"tie_word_embeddings", config["tie_word_embeddings"]}};
}

json bloom(GgufKeys& keys) {
  json config = layer_norm_family(keys, "BloomForCausalLM", "bloom");
  require(config["intermediate_size"] == 4 * config["hidden_size"].get<int64_t>(), keys.file().name(),
          ": bloom with an MLP of ", config["intermediate_size"].dump(), " is not supported");
  config["seq_length"] = config["max_position_embeddings"];
  config["n_layer"] = config["num_hidden_layers"];
  config["n_head"] = config["num_attention_heads"];
  return config;
}

json falcon(GgufKeys& keys) {
  json config = layer_norm_family(keys, "FalconForCausalLM", "falcon");
  const bool two_norms = keys.has_tensor("blk.0.attn_norm_2.weight");
  const int64_t kv_heads = config["num_key_value_heads"];
  const bool grouped = two_norms || kv_heads > 1;
  config["new_decoder_architecture"] = grouped;
  config["num_kv_heads"] = kv_heads;
  config["multi_query"] = true;
  config["num_ln_in_parallel_attn"] = two_norms ? 2 : 1;
  config["ffn_hidden_size"] = config["intermediate_size"];
  config["activation"] = "gelu";
  config["bias"] = false;
  read_rope(keys, config);
  return config;
}

json mpt(GgufKeys& keys) {
  json config = layer_norm_family(keys, "MptForCausalLM", "mpt");
  const double clip = keys.number("attention.clamp_kqv", 0);
  const double alibi = keys.number("attention.max_alibi_bias", 8);
  require(alibi > 0, keys.file().name(), ": mpt without ALiBi is not supported");
  require(config["intermediate_size"] == 4 * config["hidden_size"].get<int64_t>(), keys.file().name(),
          ": mpt with an MLP of ", config["intermediate_size"].dump(), " is not supported");
  return {{"architectures", config["architectures"]},
          {"model_type", "mpt"},
          {"d_model", config["hidden_size"]},
          {"vocab_size", config["vocab_size"]},
          {"max_seq_len", config["max_position_embeddings"]},
          {"n_layers", config["num_hidden_layers"]},
          {"n_heads", config["num_attention_heads"]},
          {"layer_norm_epsilon", config["layer_norm_epsilon"]},
          {"tie_word_embeddings", config["tie_word_embeddings"]},
          {"attn_config",
           {{"alibi", true}, {"alibi_bias_max", alibi}, {"clip_qkv", clip > 0 ? json(clip) : json()}}}};
}

struct Family {
  const char* architecture;
  json (*config)(GgufKeys&);
};
constexpr Family families[] = {
    {"llama", llama}, {"qwen2", qwen2},   {"qwen2moe", qwen2_moe}, {"qwen3", qwen3}, {"qwen3moe", qwen3_moe},
    {"gemma", gemma}, {"gemma2", gemma2}, {"phi2", phi2},          {"phi3", phi3},   {"gpt2", gpt2},
    {"bloom", bloom}, {"falcon", falcon}, {"gptneox", gpt_neox},   {"mpt", mpt},
};

std::string supported() {
  std::string names;
  for (const Family& family : families)
    names += (names.empty() ? "" : ", ") + std::string(family.architecture);
  return names;
}

}  // namespace

json gguf_config(const GgufFile& file) {
  GgufKeys keys(file);
  const auto* family = std::find_if(std::begin(families), std::end(families), [&](const Family& known) {
    return known.architecture == keys.architecture();
  });
  require(family != std::end(families), file.name(), ": the architecture ", keys.architecture(),
          " is not supported in GGUF files; supported: ", supported());
  json config = family->config(keys);
  keys.refuse_rest();
  return config;
}

}  // namespace kvviz
