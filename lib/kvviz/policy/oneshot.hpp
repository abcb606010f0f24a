// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace kvviz::policy {

/// One decision for a finished text, as an earlier tool made it: which keys of an attention matrix a policy
/// would keep. It knows the future, has no recent keys and renormalises nothing, so it is no eviction policy
/// but a figure of what accumulated weight would choose. True: kept.
///
/// Scores are the plain sums of the columns of A [queries x keys], sum_i A[i][j]: the oldest keys are summed
/// over the most queries. Of equal scores the higher position is kept. A score that is NaN is an error.
using KeepMask = std::vector<bool>;

/// Positions >= tokens - window: window 0 or less keeps none. Throws UsageError for tokens < 0.
KeepMask oneshot_window(int64_t tokens, int64_t window);

/// The first `sinks`, and positions >= max(sinks, tokens - (budget - sinks)): a budget up to `sinks` keeps
/// the sinks all the same. Throws UsageError for tokens < 0 or sinks < 0.
KeepMask oneshot_streaming(int64_t tokens, int64_t budget, int64_t sinks = 4);

/// The first `sinks`, and the budget - sinks highest of the other scores, if that is above 0. Throws
/// UsageError for sinks < 0 and DataError for NaN.
KeepMask oneshot_h2o(std::span<const double> column_sums, int64_t budget, int64_t sinks = 4);

/// The `budget` highest scores. As the earlier tool has it, budget 0 keeps all and budget -n all but the n
/// lowest. Throws DataError for NaN.
KeepMask oneshot_top(std::span<const double> column_sums, int64_t budget);

/// The mask of a policy by name: full, window, streaming_llm, h2o and lru, which is oneshot_top: the earlier
/// tool's name for it, recency has no part in it. `window` takes the whole budget. Throws UsageError for
/// other names, and as the masks do.
KeepMask oneshot_mask(std::string_view policy, std::span<const double> column_sums, int64_t budget,
                      int64_t sinks = 4);

/// The kept columns of rows [any number, mask.size()], in their order; weights are not renormalised. Throws
/// UsageError when `rows` is no whole number of rows.
std::vector<float> keep_columns(std::span<const float> rows, const KeepMask& mask);

}  // namespace kvviz::policy
