// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>

#include "kvviz/policy/policy.hpp"

namespace kvviz::policy {

/// The rows of policies(), each defined in the file of its name.
PolicyInfo full_policy();
PolicyInfo window_policy();
PolicyInfo streaming_llm_policy();
PolicyInfo h2o_policy();
PolicyInfo h2o_mask_policy();
PolicyInfo h2o_fullrow_policy();
PolicyInfo h2o_global_policy();
PolicyInfo lru_policy();
PolicyInfo tova_policy();
PolicyInfo snapkv_policy();
PolicyInfo pyramidkv_policy();
PolicyInfo adakv_policy();
PolicyInfo knorm_policy();
PolicyInfo keydiff_policy();
PolicyInfo lagkv_policy();
PolicyInfo expected_attention_policy();
PolicyInfo random_policy();
PolicyInfo oracle_policy();

std::unique_ptr<Scorer> snapkv_scorer(const RuleContext& context, size_t owner);
Metadata snapkv_metadata(const RuleContext& context, size_t owner);

/// A number of tokens from the options, no more than the text has: state is not sized beyond it.
inline int64_t of_text(const RuleContext& context, int64_t tokens) {
  return context.tokens > 0 ? std::min(tokens, context.tokens) : tokens;
}

inline constexpr int64_t position_bytes = sizeof(int32_t), score_bytes = sizeof(double),
                         weight_bytes = sizeof(float);
/// Held keys stand in the order of their positions, and nothing else is known of them.
inline Metadata nothing_kept(const RuleContext&, size_t) {
  return {};
}
inline Metadata positions_kept(const RuleContext&, size_t) {
  return {.key = position_bytes};
}

}  // namespace kvviz::policy
