// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/App.hpp>

#include "kvviz/options.hpp"

namespace kvviz {

// Rules between options, checked after parsing and before anything is opened. All throw UsageError.

/// At most one text, and an article chosen only where articles are read.
void check(const TextOptions& options);

/// Text and analysis options fit together; a cache file comes without a text. No option of `command` that was
/// chosen (arguments.hpp) is without effect.
void check(const AnalyzeOptions& options, const CLI::App& command);
/// By name or by an option of its own; not where all parts are computed anyway.
bool asks_for_attention(const AnalyzeOptions& options, const CLI::App& command);

/// One source of texts; thresholds and options of the synthetic modes only where they act.
/// Nothing that takes a result from a shard.
void check(const TextsOptions& options, const OutputOptions& output);
/// Windows or streaming, a cache file or texts.
void check(const CompressOptions& options, const CLI::App& command);
/// Options of the chosen mode and policies only, and no two that exclude each other.
void check(const SimulateOptions& options, const CLI::App& command);

/// Ranks are 1 or more; a cache file comes without a text and without what needs a model.
void check(const TuckerOptions& options, const CLI::App& command);
void check(const SinksOptions& options, const CLI::App& command);

/// Something to remove, and no options that contradict each other.
void check(const PruneOptions& options);

/// A cache file comes without a text.
void check(const SimilarityOptions& options, const CLI::App& command);

/// Sampling options only where tokens are drawn, eviction options only with a policy.
void check(const GenerationOptions& options);

/// Of any command: no option of output that was chosen is without effect beside the others.
void check_output(const CLI::App& command, const CallOptions& call);

}  // namespace kvviz
