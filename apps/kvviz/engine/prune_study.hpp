// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/pruning.hpp"
#include "kvviz/engine/cache_trials.hpp"
#include "kvviz/eval/removal.hpp"

namespace kvviz {

/// A removal and what it is called: "tokens:0-3", "channels:0-7:keys/layers:2", "all".
struct NamedRemoval {
  std::string name, summary;
  Removal removal;
};

/// How the caches are judged.
TrialOptions trial_options(const PruneOptions& options);

/// The texts with --continuation behind each, whose ids follow those of the text; as they are without it.
/// `prefix` becomes the tokens of the text. Throws UsageError when the texts differ in length then, DataError
/// when the model's context is too short.
std::vector<TextInput> with_continuation(std::vector<TextInput> texts, const PruneOptions& options,
                                         const OpenedFolder& opened, TrialOptions& trials);

/// What the options name: nothing, each part on its own, and all together where there are several. Throws
/// UsageError for an index that does not exist in the model or in the shortest prefix, naming the range.
std::vector<NamedRemoval> removals_of(const PruneOptions& options, const ModelConfig& model, int64_t prefix);

/// An item of a sweep and its removal.
struct SweepTarget {
  analysis::SweepItem item;
  NamedRemoval named;
};

/// What a sweep removes, layer by layer. Throws as removals_of(), and for a block larger than the head.
std::vector<SweepTarget> sweep_targets(const PruneOptions& options, const ModelConfig& model);

/// Each removal on every text; with `timings`, tokens decoded behind the first text's cache.
analysis::PruningStudy prune_texts(const Runner& runner, std::span<const TextInput> texts,
                                   std::span<const NamedRemoval> removals, const PruneOptions& options,
                                   const TrialOptions& trials);

/// Each target on every text, and what was measured of it before. In parts of at most 1 GiB of hidden states.
analysis::SweepStudy sweep_texts(const Runner& runner, std::span<const TextInput> texts,
                                 std::span<const SweepTarget> targets, const PruneOptions& options,
                                 const TrialOptions& trials);

}  // namespace kvviz
