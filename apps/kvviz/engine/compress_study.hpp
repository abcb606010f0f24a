// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <vector>

#include "kvviz/analysis/compression.hpp"
#include "kvviz/analysis/kivi_errors.hpp"
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

/// The trials of one text.
std::vector<CacheTrial> trials_of(const Decoder& decoder, std::span<const CachePlan> plans,
                                  const CompressOptions& options);
std::vector<TrialName> names_of(std::span<const CachePlan> plans);

/// The record of a text: its cache coded by every plan and read on with, and with --kivi-table the errors of
/// rounding.
nlohmann::json measure_compress(const TextRun::Work& work, std::span<const CachePlan> plans,
                                const CompressOptions& options);

struct CompressFindings {
  analysis::CompressionStudy study;
  std::optional<analysis::KiviStudy> kivi;  ///< with --kivi-table
};

/// All texts' records together.
CompressFindings gather_compress(const TextRun& texts, std::span<const CachePlan> plans,
                                 const CompressOptions& options);

/// Codes a cache that was read from a file: bytes and errors of keys and values.
analysis::CompressionStudy compress_cache(const KvCache& cache, std::span<const CachePlan> plans,
                                          const CompressOptions& options);

}  // namespace kvviz
