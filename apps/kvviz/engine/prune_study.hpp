// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>
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

/// A text as it is pruned, and how it is judged.
struct PruneText {
  TextInput text;
  TrialOptions trials;
};

/// With --continuation behind the text, whose ids follow those of the text, which are the prefix then; as it
/// is without. Throws DataError when the model's context is too short.
PruneText prune_text(const TextRun::Work& work, const PruneOptions& options);

/// Tokens of a text whose cache is pruned (of its first window). Throws as windows_of().
int64_t prefix_of(const batch::PlannedText& text, const PruneOptions& options);

/// Throws UsageError for a position of --tokens that a prefix does not have, naming the range.
void check_tokens(const PruneOptions& options, int64_t prefix);

/// What the options name: nothing, each part on its own, and all together where there are several. Throws
/// UsageError for an index that does not exist in the model or in the prefix, naming the range.
std::vector<NamedRemoval> removals_of(const PruneOptions& options, const ModelConfig& model, int64_t prefix);

/// An item of a sweep and its removal.
struct SweepTarget {
  analysis::SweepItem item;
  NamedRemoval named;
};

/// What a sweep removes, layer by layer. Throws as removals_of(), and for a block larger than the head.
std::vector<SweepTarget> sweep_targets(const PruneOptions& options, const ModelConfig& model);

/// The record of a text: each removal on it; `timed`: and tokens decoded behind its cache.
nlohmann::json measure_prune(const TextRun::Work& work, std::span<const NamedRemoval> removals,
                             const PruneOptions& options, bool timed);
/// All texts' records together.
analysis::PruningStudy gather_prune(const TextRun& texts, std::span<const NamedRemoval> removals,
                                    const PruneOptions& options);

/// The same of a sweep: each target on the text, and what was measured of it before.
nlohmann::json measure_sweep(const TextRun::Work& work, std::span<const SweepTarget> targets,
                             const PruneOptions& options);
analysis::SweepStudy gather_sweep(const TextRun& texts, std::span<const SweepTarget> targets,
                                  const PruneOptions& options);

}  // namespace kvviz
