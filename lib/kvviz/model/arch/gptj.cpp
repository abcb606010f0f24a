// SPDX-License-Identifier: MIT
#include "kvviz/model/arch/families.hpp"
#include "kvviz/model/arch/names.hpp"
#include "kvviz/model/arch/reading.hpp"

namespace kvviz {
namespace {

using namespace arch;
using nlohmann::json;

ModelConfig parse(const json& j) {
  ModelConfig config;
  config.hidden = whole(j, "n_embd", width_limits);
  config.vocabulary = whole(j, "vocab_size", vocabulary_limits);
  config.context = whole_or(j, "n_positions", context_limits, 2048);
  config.norm = NormKind::layer;
  config.norm_eps = value_or(j, "layer_norm_epsilon", 1e-5);
  config.residual = Residual::parallel_one_norm;
  config.activation = activation_of(j, "activation_function", "gelu_new");
  config.gated_mlp = false;
  config.mlp_bias = true;
  config.tied_head = value_or(j, "tie_word_embeddings", false);
  config.head_bias = true;
  const int64_t heads = whole(j, "n_head", width_limits);
  const LayerConfig layer{.heads = heads,
                          .kv_heads = heads,
                          .head_dim = even_head_dim(config.hidden, heads),
                          .mlp_dim = whole_or(j, "n_inner", width_limits, 4 * config.hidden)};
  config.layers = repeated(layer, j, "n_layer");
  const auto rotary = whole_or(j, "rotary_dim", width_limits, 64);
  require(rotary <= layer.head_dim && rotary % 2 == 0, "config.json: a rotary_dim of ", rotary,
          " for a head_dim of ", layer.head_dim, "; expected an even number up to it");
  config.rope = {.rotary_dim = rotary, .pairing = RopePairing::interleaved};
  return config;
}

std::vector<WeightSource> sources(const ModelConfig& config) {
  static constexpr TensorNames names{
      .embedding = "transformer.wte",
      .final_norm = "transformer.ln_f",
      .layers = "transformer.h.",
      .attention_norm = "ln_1",
      .query = "attn.q_proj",
      .key = "attn.k_proj",
      .value = "attn.v_proj",
      .output = "attn.out_proj",
      .up = "mlp.fc_in",
      .down = "mlp.fc_out",
  };
  return named_sources(config, names);
}

}  // namespace

Architecture gptj_family() {
  return {.classes = {{"GPTJForCausalLM", "gptj"}},
          .prefix = "transformer.",
          .ignored = {".attn.bias", ".attn.masked_bias", ".attn.embed_positions"},
          .parse_config = parse,
          .weight_map = sources};
}

}  // namespace kvviz
