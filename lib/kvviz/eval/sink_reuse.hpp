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
  first_key,    ///< all weight on key 0: the output is its value, also where a window hides it
  zero          ///< no output
};
const char* name_of(SinkSubstitute substitute);

/// Which query heads are replaced: [layer][query head]. The first layer is never replaced by its own pattern.
using HeadFlags = std::vector<std::vector<bool>>;

/// Arithmetic and memory of the attention of one text of n tokens, all layers, from the shapes alone. With v
/// the visible (query, key) pairs, n (n + 1) / 2, or those within the window, a query head costs 2 head_dim v
/// flops for its logits and as much for weights times values. first_key and zero save both; first_layer saves
/// the logits and multiplies the v of the first layer's window. Softmax is not counted. Projections, MLP and
/// the other heads stay as they are.
/// Cache: keys and values of min(n, window) tokens. Only a KV head all of whose query heads are replaced
/// frees anything: of it first_key keeps the entry of token 0, zero nothing, first_layer the values that the
/// first layer's pattern reaches.
struct AttentionCost {
  double flops = 0;          ///< of logits and weighted values
  double model_flops = 0;    ///< of the whole forward pass, without the output head
  double cache_bytes = 0;    ///< f32 keys and values
  double pattern_bytes = 0;  ///< f32 patterns of the first layer that are kept, 4 n^2 a head index
};
AttentionCost attention_cost(const ModelConfig& config, int64_t tokens);
AttentionCost attention_cost(const ModelConfig& config, int64_t tokens, SinkSubstitute substitute,
                             const HeadFlags& flags);

/// Most bytes of first-layer patterns that a run may keep.
inline constexpr int64_t most_pattern_bytes = int64_t{4} << 30;

/// Attention with the flagged heads replaced, for whole texts (no earlier cache). Heads that are not flagged
/// get exactly what streaming_attention gives them, their KV heads still shared; replaced heads cost what
/// AttentionCost says and no more: first_layer multiplies its stored patterns with the kernel that
/// streaming attention multiplies its weights with. It keeps tokens x tokens f32 for every head index that a
/// later layer takes, from the first layer to the last of a pass, and one pattern more while it stores them.
/// Throws DataError when the flags do not fit the model, when layers differ in their query heads
/// (first_layer), or, on a text, when the patterns would take more than `pattern_limit` bytes.
AttentionFn make_reuse_attention(const ModelConfig& config, SinkSubstitute substitute, const HeadFlags& flags,
                                 int64_t pattern_limit = most_pattern_bytes);

/// `attend`, adding the wall clock it takes to `seconds`.
AttentionFn timed_attention(AttentionFn attend, double& seconds);

struct ReuseRun {
  at::Tensor hidden;             ///< after the final norm, [tokens, hidden]
  double attention_seconds = 0;  ///< wall clock inside attention
  double seconds = 0;            ///< of the whole forward pass
};

/// The text with full attention, measured the same way as the replaced ones.
ReuseRun run_full(const Decoder& decoder, std::span<const int32_t> ids);

/// The text through make_reuse_attention, with its errors.
ReuseRun run_replaced(const Decoder& decoder, std::span<const int32_t> ids, SinkSubstitute substitute,
                      const HeadFlags& flags, int64_t pattern_limit = most_pattern_bytes);

}  // namespace kvviz
