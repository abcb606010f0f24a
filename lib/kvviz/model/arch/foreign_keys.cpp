// SPDX-License-Identifier: MIT
#include "kvviz/model/arch/foreign_keys.hpp"

#include <algorithm>
#include <string>

#include "kvviz/model/arch/reading.hpp"

namespace kvviz::arch {
namespace {

using nlohmann::json;

struct ForeignKey {
  const char* key;
  json neutral;                      // beside null, which never says anything
  std::vector<std::string> readers;  // the model_types that read it
};

const std::vector<ForeignKey>& foreign_keys() {
  static const std::vector<ForeignKey> keys = {
      // which tokens see which
      {"is_causal", true, {}},
      {"is_encoder_decoder", false, {}},
      {"use_bidirectional_attention", false, {}},
      {"sliding_window",
       0,
       {"mistral", "mixtral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "phi3", "gemma2"}},
      {"attention_chunk_size", 0, {}},
      // positions
      {"alibi", false, {"falcon"}},
      {"no_rope_layers", json::array(), {}},
      {"no_rope_layer_interval", 0, {}},
      {"rope_interleaved", false, {}},
      {"rope_local_base_freq", json(), {}},
      {"rotary", true, {}},
      // queries, keys and logits of attention
      {"attention_multiplier", 1, {}},
      {"attn_logit_softcapping", json(), {"gemma2"}},
      {"attn_temperature_tuning", false, {}},
      {"clip_qkv", json(), {}},
      {"qk_layernorm", false, {"phi"}},
      {"qk_norm", false, {}},
      {"query_pre_attn_scalar", json(), {"gemma2"}},
      {"scale_attn_by_inverse_layer_idx", false, {"gpt2"}},
      {"scale_attn_weights", true, {"gpt2"}},
      {"use_qk_norm", false, {}},
      // embeddings, residual stream and logits
      {"embedding_multiplier", 1, {}},
      {"final_logit_softcapping", json(), {"gemma2"}},
      {"logit_scale", 1, {"mpt"}},
      {"logits_scaling", 1, {}},
      {"residual_multiplier", 1, {}},
      {"scale_depth", json(), {}},
      {"scale_emb", 1, {}},
  };
  return keys;
}

bool is_silent(const json& config, const ForeignKey& foreign) {
  const json& value = value_at(config, foreign.key);
  if (value.is_null() || value == foreign.neutral) return true;
  return std::string_view(foreign.key) == "sliding_window" && value_at(config, "use_sliding_window") == false;
}

}  // namespace

void refuse_foreign_keys(const json& config) {
  const auto type = value_or(config, "model_type", std::string());
  for (const ForeignKey& foreign : foreign_keys()) {
    const bool read = std::ranges::find(foreign.readers, type) != foreign.readers.end();
    require(read || is_silent(config, foreign), "config.json: ", foreign.key, ' ',
            shown(value_at(config, foreign.key)), " is not supported for ", type,
            "; supported: ", shown(foreign.neutral),
            ". It changes what other models compute; where this one was made without it, remove it");
  }
}

void check_layer_types(const json& config, const std::vector<LayerConfig>& layers) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const bool window = layers[i].window > 0;
    if (has_window(config, static_cast<int64_t>(i), window) == window) continue;
    throw DataError(cat("config.json: layer_types has ", shown(config.at("layer_types").at(i)), " for layer ",
                        i, ", which ", window ? "has a sliding window" : "has none",
                        " by what else the file says; ", value_or(config, "model_type", std::string()),
                        " would not follow layer_types"));
  }
}

}  // namespace kvviz::arch
