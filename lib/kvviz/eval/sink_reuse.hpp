// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/eval/compare.hpp"
#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// What stands in for the attention of a sink head.
enum class SinkSubstitute {
  first_layer,  ///< the softmax weights of the first layer at the same head index, times this layer's values
  first_key,    ///< all weight on key 0: the output is its value
  zero          ///< no output
};
const char* name_of(SinkSubstitute substitute);

/// Which query heads are replaced: [layer][query head]. The first layer is never replaced by its own pattern.
using HeadFlags = std::vector<std::vector<bool>>;

/// Arithmetic and memory of the attention of one text of n tokens, all layers, from the shapes alone. With
/// v(n) = n (n + 1) / 2 visible pairs (those of the window where there is one), a head costs 2 head_dim v for
/// its logits and as much for weights times values: first_layer saves the first half (its pattern is stored,
/// 4 n^2 bytes a head index), first_key and zero save both. Projections, MLP and the other heads stay. A KV
/// head all of whose query heads are replaced keeps key and value of token 0 (first_key), nothing (zero) or
/// only its values (first_layer).
struct AttentionCost {
  double flops = 0;          ///< of logits and weighted values
  double model_flops = 0;    ///< of the whole forward pass, without the output head
  double cache_bytes = 0;    ///< f32 keys and values
  double pattern_bytes = 0;  ///< f32 patterns of the first layer that are kept
};
AttentionCost attention_cost(const ModelConfig& config, int64_t tokens);
AttentionCost attention_cost(const ModelConfig& config, int64_t tokens, SinkSubstitute substitute,
                             const HeadFlags& flags);

struct ReuseRun {
  at::Tensor hidden;             ///< after the final norm, [tokens, hidden]
  double attention_seconds = 0;  ///< wall clock inside attention
  double seconds = 0;            ///< of the whole forward pass
};

/// The text with full attention, measured the same way as the replaced ones.
ReuseRun run_full(const Decoder& decoder, std::span<const int32_t> ids);

/// The text with the flagged heads replaced. Heads that are not flagged run through streaming attention as
/// ever. first_layer computes whole patterns of the first layer, tokens x tokens a flagged head index. Throws
/// DataError when the flags do not fit the model, or layers differ in their query heads (first_layer).
ReuseRun run_replaced(const Decoder& decoder, std::span<const int32_t> ids, SinkSubstitute substitute,
                      const HeadFlags& flags);

}  // namespace kvviz
