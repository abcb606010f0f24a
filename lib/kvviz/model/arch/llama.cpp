// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/names.hpp"
#include "kvviz/model/arch/reading.hpp"

namespace kvviz {
namespace {

using namespace arch;
using nlohmann::json;

/// Whether a layer has the sliding window: never, where sliding_window is given, where use_sliding_window is
/// true too, or then as layer_types says, or max_window_layers.
enum class Window { never, where_given, where_switched_on, by_layer };

/// What sets the members of the family apart, and what an absent key means in each (transformers'
/// configuration classes say so).
struct Member {
  const char* type;
  int64_t kv_heads = 0;  // 0: as many as query heads
  int64_t head_dim = 0;  // 0: hidden / heads
  int64_t context = 32768;
  double norm_eps = 1e-6;
  double theta = 10000;
  bool qkv_bias = false;
  bool qk_norm = false;
  Window window = Window::never;
  int64_t default_window = 0;
  const char* experts = nullptr;  // the key with their number
};

constexpr Member members[] = {
    {.type = "llama", .context = 2048},
    {.type = "mistral",
     .kv_heads = 8,
     .context = 131072,
     .window = Window::where_given,
     .default_window = 4096},
    {.type = "mixtral",
     .kv_heads = 8,
     .context = 131072,
     .norm_eps = 1e-5,
     .theta = 1e6,
     .window = Window::where_given,
     .experts = "num_local_experts"},
    {.type = "qwen2", .qkv_bias = true, .window = Window::by_layer, .default_window = 4096},
    {.type = "qwen2_moe",
     .qkv_bias = true,
     .window = Window::by_layer,
     .default_window = 4096,
     .experts = "num_experts"},
    {.type = "qwen3", .head_dim = 128, .qk_norm = true, .window = Window::by_layer, .default_window = 4096},
    {.type = "qwen3_moe",
     .kv_heads = 4,
     .qk_norm = true,
     .window = Window::where_switched_on,
     .default_window = 4096,
     .experts = "num_experts"},
};

const Member& member_of(const json& j) {
  const auto type = value_or(j, "model_type", std::string());
  return *std::find_if(std::begin(members), std::end(members),
                       [&](const Member& m) { return m.type == type; });
}

// Qwen2's window holds from max_window_layers on, that of its mixture in every layer.
int64_t window_of(const json& j, const Member& member, int64_t layer) {
  if (member.window == Window::never) return 0;
  const auto window =
      j.contains("sliding_window") ? whole_or(j, "sliding_window", window_limits, 0) : member.default_window;
  const bool switched_on = value_or(j, "use_sliding_window", member.window == Window::where_given);
  require(switched_on || window == 0 || member.window != Window::where_given,
          "config.json: use_sliding_window false is not supported for ", member.type,
          ", which has its sliding_window of ", window, " all the same; supported: sliding_window null");
  if (!switched_on) return 0;
  if (member.window != Window::by_layer) return window;
  const bool reached =
      member.experts != nullptr || layer >= whole_or(j, "max_window_layers", {0, INT64_MAX}, 28);
  return has_window(j, layer, reached) ? window : 0;
}

// transformers 5 writes the number of experts of every family under Mixtral's name.
int64_t experts_in(const json& j, const Member& member) {
  const auto count = whole_or(j, member.experts, expert_limits, 0);
  const auto same = whole_or(j, "num_local_experts", expert_limits, count);
  require(count == 0 || count == same, "config.json: ", member.experts, " is ", count,
          " and num_local_experts is ", same, "; expected the same");
  return count > 0 || same > 0 ? same : whole(j, member.experts, expert_limits);
}

ExpertConfig experts_of(const json& j, const Member& member, int64_t layer) {
  if (member.experts == nullptr) return {};
  const bool mixtral = std::string_view(member.type) == "mixtral";
  const json& dense = value_at(j, "mlp_only_layers");
  const int64_t step = whole_or(j, "decoder_sparse_step", {1, INT64_MAX}, 1);
  if ((layer + 1) % step != 0 || std::ranges::find(dense, json(layer)) != dense.end()) return {};
  ExpertConfig experts{
      .count = experts_in(j, member),
      .used = whole(j, "num_experts_per_tok", expert_limits),
      .normalised = mixtral || value_or(j, "norm_topk_prob", false),
      .shared_dim = whole_or(j, "shared_expert_intermediate_size", {0, width_limits.most}, 0)};
  require(experts.used <= experts.count, "config.json: a token uses ", experts.used, " of ", experts.count,
          " experts; expected at most all");
  return experts;
}

ModelConfig parse(const json& j) {
  const Member& member = member_of(j);
  const std::string type = member.type;
  ModelConfig config;
  config.hidden = whole(j, "hidden_size", width_limits);
  config.vocabulary = whole(j, "vocab_size", vocabulary_limits);
  config.context = whole_or(j, "max_position_embeddings", context_limits, member.context);
  config.norm_eps = value_or(j, "rms_norm_eps", member.norm_eps);
  config.activation = activation_of(j, "hidden_act", "silu");
  const bool all_biased = value_or(j, "attention_bias", false);
  config.attention_bias = all_biased || value_or(j, "qkv_bias", member.qkv_bias);
  config.output_bias = all_biased && !member.qkv_bias;
  config.mlp_bias = value_or(j, "mlp_bias", false);
  config.qk_norm = member.qk_norm;
  config.tied_head = value_or(j, "tie_word_embeddings", false);
  const int64_t heads = whole(j, "num_attention_heads", width_limits);
  const bool told = j.contains("num_key_value_heads") || member.kv_heads == 0;  // null: as many as heads
  LayerConfig layer{
      .heads = heads,
      .kv_heads = whole_or(j, "num_key_value_heads", width_limits, told ? heads : member.kv_heads),
      .head_dim = whole_or(j, "head_dim", width_limits,
                           member.head_dim > 0 ? member.head_dim : config.hidden / heads),
      .mlp_dim = whole(j, "intermediate_size", width_limits)};
  config.layers = repeated(layer, j, "num_hidden_layers");
  config.rope = read_rope(j, config, layer.head_dim, {.default_theta = member.theta});
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    config.layers[i].window = window_of(j, member, index);
    config.layers[i].experts = experts_of(j, member, index);
    if (config.layers[i].experts.count > 0)
      config.layers[i].mlp_dim = whole_or(j, "moe_intermediate_size", width_limits, layer.mlp_dim);
  }
  return config;
}

struct MlpNames {
  const char *gate = "gate_proj", *up = "up_proj", *down = "down_proj";
};

void add_mlp(std::vector<WeightSource>& map, const std::string& ours, const std::string& theirs,
             const MlpNames& names) {
  add_linear(map, ours + "gate", theirs + names.gate, false);
  add_linear(map, ours + "up", theirs + names.up, false);
  add_linear(map, ours + "down", theirs + names.down, false);
}

void add_experts(std::vector<WeightSource>& map, const std::string& ours, const std::string& block,
                 const LayerConfig& layer, bool mixtral) {
  const std::string theirs = block + (mixtral ? "block_sparse_moe." : "mlp.");
  const MlpNames names = mixtral ? MlpNames{"w1", "w3", "w2"} : MlpNames{};
  add_linear(map, ours + "router", theirs + "gate", false);
  for (int64_t e = 0; e < layer.experts.count; ++e)
    add_mlp(map, cat(ours, "experts.", e, '.'), cat(theirs, "experts.", e, '.'), names);
  if (layer.experts.shared_dim == 0) return;
  add_mlp(map, ours + "shared_expert.", theirs + "shared_expert.", names);
  add_linear(map, ours + "shared_gate", theirs + "shared_expert_gate", false);
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "model.embed_tokens",
      .final_norm = "model.norm",
      .layers = "model.layers.",
      .attention_norm = "input_layernorm",
      .mlp_norm = "post_attention_layernorm",
      .query = "self_attn.q_proj",
      .key = "self_attn.k_proj",
      .value = "self_attn.v_proj",
      .query_norm = "self_attn.q_norm",
      .key_norm = "self_attn.k_norm",
      .output = "self_attn.o_proj",
      .gate = "mlp.gate_proj",
      .up = "mlp.up_proj",
      .down = "mlp.down_proj",
  };
  auto map = named_sources(config, names);
  const bool mixtral = config.architecture == "MixtralForCausalLM";
  for (size_t i = 0; i < config.layers.size(); ++i)
    if (config.layers[i].experts.count > 0)
      add_experts(map, cat("layers.", i, '.'), cat("model.layers.", i, '.'), config.layers[i], mixtral);
  return map;
}

}  // namespace

Architecture llama_family() {
  return {.classes = {{"LlamaForCausalLM", "llama"},
                      {"MistralForCausalLM", "mistral"},
                      {"Qwen2ForCausalLM", "qwen2"},
                      {"Qwen3ForCausalLM", "qwen3"},
                      {"MixtralForCausalLM", "mixtral"},
                      {"Qwen2MoeForCausalLM", "qwen2_moe"},
                      {"Qwen3MoeForCausalLM", "qwen3_moe"}},
          .prefix = "model.",
          .ignored = {".rotary_emb.inv_freq"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
