// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/options.hpp"

namespace kvviz {

/// `simulate --mode oneshot`: sinkvis's keep masks of finished attention (policy/oneshot.hpp), for the column
/// sums of every KV head's mean attention and for their mean over all. Nothing is evicted and no effect on
/// the model measured.
int run_oneshot(const SimulateOptions& options);

}  // namespace kvviz
