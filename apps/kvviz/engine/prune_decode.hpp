// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/analysis/pruning.hpp"
#include "kvviz/engine/prune_study.hpp"

namespace kvviz {

struct DecodeOptions {
  TrialOptions trials;
  int64_t steps = 64;  ///< that count, where the text has as many
};

/// Decodes the text after its first prefix token by token, with the full cache and with each removal's, which
/// take turns at every token, and fills the times and bytes of the variants whose cache is smaller. A step is
/// the whole model with its logits. The first steps warm up and do not count.
void time_decoding(const Runner& runner, const TextInput& text, std::span<const NamedRemoval> removals,
                   const DecodeOptions& options, std::span<analysis::PruneVariant> variants);

}  // namespace kvviz
