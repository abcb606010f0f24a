// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

#include "kvviz/attention/attention.hpp"
#include "kvviz/model/config.hpp"
#include "kvviz/model/weights.hpp"

namespace kvviz {

/// What a layer hands to its attention; [batch, heads, tokens, head_dim]. Without RoPE the rotated tensors
/// are the plain ones.
struct LayerQkv {
  int layer = 0;
  AttentionSpec spec;
  at::Tensor query_pre_rope, key_pre_rope;
  at::Tensor query, key, value;
};

/// Attention of one layer: [batch, query_heads, tokens, head_dim]. Capturing a cache, measuring attention,
/// decoding with a cache and evicting from it are all functions of this kind; the decoder knows none of them.
using AttentionFn = std::function<at::Tensor(const LayerQkv&)>;

/// Named places where a forward pass can be watched; they fire in prefill and in decoding alike.
enum class Site { query_pre_rope, key_pre_rope, key, value, attention, layer_out };
using Probe = std::function<void(Site, int layer, const at::Tensor&)>;

/// Where a stretch of tokens stands in its text.
struct Positions {
  int64_t first = 0;
  int64_t length = 0;  ///< of the text, for RoPE that depends on it; 0: it ends with the stretch
};

/// One decoder for every family, driven by its configuration: residual blocks of attention and MLP.
class Decoder {
 public:
  Decoder(ModelConfig config, ModelWeights weights);

  /// Hidden states after the final norm (or the last layer, where there is none), [batch, tokens, hidden], of
  /// ids [batch, tokens] (int64). Throws DataError for an id outside the vocabulary or a position beyond
  /// learned ones.
  at::Tensor hidden(const at::Tensor& ids, const Positions& positions, const AttentionFn& attend,
                    const Probe& probe = {}) const;

  /// Logits [..., vocabulary] of hidden states [..., hidden], soft-capped where the model does so.
  at::Tensor logits(const at::Tensor& hidden) const;

  /// Where the weights are, the products with them and, through AttentionSpec, streaming attention.
  /// Everything that goes in and out of the decoder is on the CPU: ids, what attention gets and gives,
  /// probes, hidden states, logits.
  at::Device device() const { return weights_.embedding.device(); }

  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }

 private:
  at::Tensor embedded(const at::Tensor& ids, int64_t first_position) const;
  LayerQkv project(int layer, const at::Tensor& x, const RopeTable& rope) const;

  ModelConfig config_;
  ModelWeights weights_;
};

}  // namespace kvviz
