// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/analysis/pruning.hpp"
#include "kvviz/engine/prune_study.hpp"

namespace kvviz {

struct DecodeOptions {
  int64_t prefix = 0;
  int64_t steps = 64;  ///< that count, where the text has as many
  bool quiet = false;
};

/// Decodes the text after its prefix token by token, with the full cache and with each removal's, which take
/// turns at every token, and fills the times and bytes of the variants whose cache is smaller. A step is the
/// whole model with its logits. The first steps warm up and do not count.
void time_decoding(const Decoder& decoder, std::span<const int32_t> ids,
                   std::span<const NamedRemoval> removals, const DecodeOptions& options,
                   std::span<analysis::PruneVariant> variants);

}  // namespace kvviz
