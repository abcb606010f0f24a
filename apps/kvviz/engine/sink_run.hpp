// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <vector>

#include "kvviz/analysis/sink_study.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/engine/text_run.hpp"

namespace kvviz {

/// Sinks of many texts under one model, or random numbers in their place.
struct SinkRun {
  analysis::SinkStudy study;
  std::vector<analysis::LayerSinks> layers;  ///< kinds and norms over all texts; heads and curves left out
  /// Pooled maps of the first text, [layer][query head]; only `map` is kept.
  std::vector<std::vector<kernels::HeadAttention>> maps;
  SubjectOrigin origin;
  std::vector<int64_t> tokens;  ///< of each text
  bool synthetic = false;
};

/// Runs a text: what is kept of it grows with its tokens, not with their square. `map_bins`: as
/// AttentionRequest.
nlohmann::json measure_sinks(const TextRun::Work& work, const SinksOptions& options, int64_t map_bins);

/// The texts of a run together.
SinkRun gather_sinks(const TextRun& texts, const SinksOptions& options);

/// Large arrays of a run: the scores of every text, from which everything else can be computed again.
void write_sink_arrays(const std::filesystem::path& file, const SinkRun& run);
/// The study of a result's arrays. Throws DataError when the file is none of `kvviz sinks`.
analysis::SinkStudy read_sink_study(const std::filesystem::path& file);

}  // namespace kvviz
