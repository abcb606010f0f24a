// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/model/decoder.hpp"

namespace kvviz::test {

/// What tokens after a prefix see of one layer's cache.
struct MaskedLayer {
  at::Tensor key, value;  ///< of the prefix, [kv_heads, prefix, head_dim], after RoPE; undefined: the model's
  std::vector<std::vector<int32_t>> gone;  ///< by KV head: positions of the prefix that are not seen
  std::vector<int> silent;                 ///< query heads whose output is 0
  std::vector<std::vector<int>> blind;     ///< by query head: channels of later queries that are 0
  std::vector<std::vector<int>> mute;      ///< by query head: channels of later outputs that are 0
};

/// Hidden states of the tokens after the prefix: the whole text in one dense pass, logits and softmax in
/// double with -inf where nothing is seen. Nothing is stored or removed; rows of the prefix are as usual.
/// Empty lists: nothing of that kind.
at::Tensor masked_pass(const Decoder& decoder, const std::vector<int32_t>& ids, int64_t prefix,
                       std::span<const MaskedLayer> layers);

}  // namespace kvviz::test
