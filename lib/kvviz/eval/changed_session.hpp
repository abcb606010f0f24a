// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// One layer's cache after something was done to it: what attention reads. A KV head that holds fewer tokens
/// than another fills the first rows of its part.
struct ChangedLayer {
  at::Tensor key, value;  ///< f32 [kv_heads, held, head_dim]
  /// Where the held tokens stood in the text, by KV head, ascending; the others get exactly no attention.
  /// Empty: every token is held.
  std::vector<std::vector<int32_t>> positions;
  /// Query heads whose output is zero. KV heads of which all query heads are silent are never read: they may
  /// hold nothing, and nothing is kept of later tokens either.
  std::vector<int> silent;
  /// What keys (after RoPE) and values of later tokens are multiplied by, [kv_heads, head_dim]; undefined:
  /// they stay as they are.
  at::Tensor later_key_factor, later_value_factor;
  double payload_bytes = 0, metadata_bytes = 0;  ///< as the change counts them
  double workspace_bytes = 0;             ///< for what attention reads, where that is not the code itself
  double key_error = 0, value_error = 0;  ///< |restored - x| / |x| over what is held; 0 is best
};

/// Sum of the squares, in fp64 and in the order of the elements: the same for any number of threads.
double squared_norm(const at::Tensor& x);

/// |restored - x| / |x|, Frobenius, sums in fp64; |restored| where x is 0.
double relative_error(const at::Tensor& restored, const at::Tensor& x);

/// The rows of `x` [kv_heads, tokens, head_dim] at these positions, by KV head, from row 0 on; a head with
/// fewer than another is filled with zeros: [kv_heads, most of a head, head_dim].
at::Tensor held_rows(const at::Tensor& x, std::span<const std::vector<int32_t>> positions);

/// A sequence that goes on after a changed cache: later keys and values are kept as they are. Session with
/// tokens and heads gone.
class ChangedSession {
 public:
  /// `tokens`: of the text that the cache was made of; the next token stands there. Keys are after RoPE. The
  /// tensors are copied. Throws DataError when layers or shapes are not the decoder's.
  ChangedSession(const Decoder& decoder, std::span<const ChangedLayer> layers, int64_t tokens);

  /// Runs the ids after those before. Hidden states after the final norm, [ids, hidden]. No gradients.
  at::Tensor extend(std::span<const int32_t> ids, const Probe& probe = {});

  int64_t tokens() const { return tokens_; }
  /// Keys and values that are held now, in bytes of f32.
  int64_t bytes() const;

  /// KV heads that one call of attention serves: those that hold equally many tokens, in a layer with a
  /// sliding window or ALiBi the same tokens.
  struct Store {
    std::vector<int64_t> kv_heads, query_heads;
    std::vector<int32_t> positions;       ///< of the held tokens; without window and ALiBi those of one head
    at::Tensor key, value;                ///< [kv_heads, capacity, head_dim]
    at::Tensor key_factor, value_factor;  ///< of the layer
    int64_t held() const { return static_cast<int64_t>(positions.size()); }
  };

 private:
  struct Layer {
    std::vector<Store> stores;
    std::vector<int> silent;
  };
  at::Tensor attend(const LayerQkv& x);

  const Decoder& decoder_;
  std::vector<Layer> layers_;
  int64_t tokens_;
};

}  // namespace kvviz
