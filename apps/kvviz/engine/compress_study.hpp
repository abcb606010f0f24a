// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <span>
#include <vector>

#include "kvviz/analysis/compression.hpp"
#include "kvviz/engine/plan_change.hpp"

namespace kvviz {

/// The plans that the options name, each with its arguments; with --sweep, or without a name, all that the
/// sweeps try, without those that --streaming or --cache rules out. Throws UsageError for an unknown name,
/// wrong arguments, a plan named twice, and one that is ruled out by name.
std::vector<CachePlan> plans_of(const CompressOptions& options);

/// Of each layer, [kv_heads, head_dim].
using KvShapes = std::vector<std::array<int64_t, 2>>;
KvShapes shapes_of(const ModelConfig& config);
KvShapes shapes_of(const KvCache& cache);

/// Plans of a sweep that these shapes do not allow are left out, and named on stderr with the reason. Throws
/// UsageError for one that was asked for by name, and when none is left.
void leave_out_unfit(std::vector<CachePlan>& plans, const KvShapes& shapes, const CompressOptions& options);

/// How the caches are judged.
TrialOptions trial_options(const CompressOptions& options);
CodedSides sides_of(const CompressOptions& options);

std::vector<CacheTrial> trials_of(const Decoder& decoder, std::span<const CachePlan> plans,
                                  const CompressOptions& options);

/// Codes the caches of every text by every plan and reads on with them.
analysis::CompressionStudy compress_texts(const Runner& runner, std::span<const TextInput> texts,
                                          std::span<const CachePlan> plans, const CompressOptions& options);

/// Codes a cache that was read from a file: bytes and errors of keys and values.
analysis::CompressionStudy compress_cache(const KvCache& cache, std::span<const CachePlan> plans,
                                          const CompressOptions& options);

}  // namespace kvviz
