// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/model/rope.hpp"

namespace kvviz {

enum class NormKind { layer, rms };
enum class Activation { gelu, gelu_tanh, silu, relu };
enum class PositionKind { learned, rope, alibi };

/// How attention and MLP join the residual stream: one after the other, x += attention(norm(x)); x +=
/// mlp(norm(x)); side by side, x += attention(norm(x)) + mlp(norm(x)), with a norm each or one for both; or
/// with the norms after the sums, x = norm(x + attention(x)); x = norm(x + mlp(x)), and then no final norm.
enum class Residual { sequential, parallel, parallel_one_norm, norm_after };

/// A mixture of experts in place of the MLP: a router picks `used` of `count` experts for each token by the
/// softmax of its logits and adds their outputs with these weights.
struct ExpertConfig {
  int64_t count = 0;  ///< 0: an ordinary MLP
  int64_t used = 0;
  bool normalised = true;  ///< the weights of the chosen experts are divided by their sum
  int64_t shared_dim = 0;  ///< width of an expert that every token uses, behind a sigmoid gate; 0: none
};

struct LayerConfig {
  int64_t heads = 0;     ///< query heads
  int64_t kv_heads = 0;  ///< heads of keys and values; divides `heads`
  int64_t head_dim = 0;
  int64_t mlp_dim = 0;  ///< width of the MLP, or of each expert
  int64_t window = 0;   ///< sliding window in tokens, 0: none
  double attention_scale = 1;
  ExpertConfig experts = {};

  /// Width that one token passes through: of the MLP, or of the experts that it uses.
  int64_t active_mlp_dim() const {
    return experts.count > 0 ? experts.used * mlp_dim + experts.shared_dim : mlp_dim;
  }
};

/// Everything the decoder needs to know about a model; nothing downstream asks which model it is.
struct ModelConfig {
  std::string architecture;  ///< as the model's files name it, for reports only
  int64_t hidden = 0;
  int64_t vocabulary = 0;
  int64_t context = 0;  ///< most positions the model was made for
  NormKind norm = NormKind::rms;
  double norm_eps = 1e-5;
  bool norm_bias = true;    ///< of layer norms
  bool post_norms = false;  ///< attention and MLP are normed once more before they join the residual stream
  bool qk_norm = false;     ///< queries and keys are normed over head_dim, before RoPE
  double qkv_clip = 0;      ///< queries, keys and values are cut to [-clip, clip]; 0: they are not
  Residual residual = Residual::sequential;
  PositionKind position = PositionKind::rope;
  RopeConfig rope;
  std::vector<float> alibi_slopes;  ///< of the query heads, where position is alibi
  int64_t embedding_dim = 0;        ///< of narrower embeddings, projected on the way in and out; 0: hidden
  double embedding_scale = 1;       ///< embeddings are multiplied by it
  bool embedding_norm = false;      ///< embeddings are normed
  double attention_softcap = 0;     ///< softcap * tanh(logit / softcap) on attention logits; 0: none
  double logit_softcap = 0;         ///< the same on the logits of the vocabulary
  Activation activation = Activation::silu;
  bool gated_mlp = true;  ///< down(act(gate(x)) * up(x)); else down(act(up(x)))
  bool attention_bias = false, output_bias = false, mlp_bias = false, head_bias = false;
  bool tied_head = false;    ///< the head is the token embedding
  std::string quantisation;  ///< quant_method of config.json; empty: weights are plain numbers
  std::vector<LayerConfig> layers;

  bool has_final_norm() const { return residual != Residual::norm_after; }
  int64_t parameters() const;
  /// K and V of one token over all layers, in bytes of `element_bytes` each.
  int64_t cache_bytes_per_token(int64_t element_bytes) const;
};

}  // namespace kvviz
