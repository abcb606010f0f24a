// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "kvviz/eval/split_text.hpp"

namespace kvviz {

/// A text whose keys and values are changed as they are written: every query, from the first token on, reads
/// changed keys and values, its own among them. What a decoder computes that codes each token when it comes,
/// layer by layer in one pass instead of token by token.
class WrittenText {
 public:
  /// Keys and values of a layer [kv_heads, tokens, head_dim], keys in the basis asked for, and what is read
  /// in their place, of the same shapes. Token t of the result may depend on token t alone.
  using Write = std::function<std::pair<at::Tensor, at::Tensor>(size_t layer, const LayerKv&)>;

  /// Runs the text as it is. Keeps the attention outputs of all layers.
  WrittenText(const Decoder& decoder, std::span<const int32_t> ids, KeyBasis basis = KeyBasis::post_rope);

  const at::Tensor& hidden() const { return hidden_; }  ///< with the cache as it is, [tokens, hidden]
  std::span<const int32_t> ids() const { return ids_; }

  /// One forward pass. What returns its input gives hidden() and errors of 0, bit for bit.
  ContinuedRun run(const Write& write) const;

 private:
  at::Tensor pass(const Write& write, const Probe& probe) const;

  const Decoder& decoder_;
  std::span<const int32_t> ids_;
  KeyBasis basis_;
  at::Tensor hidden_;
  std::vector<at::Tensor> outputs_;  ///< by layer
};

}  // namespace kvviz
