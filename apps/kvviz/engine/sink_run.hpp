// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <vector>

#include "kvviz/analysis/sink_study.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/engine/text_input.hpp"

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

/// Runs the texts one by one; what is kept of one grows with its tokens, not with their square.
SinkRun run_texts(const Runner& runner, std::span<const TextInput> texts, const SinksOptions& options);

/// Large arrays of a run: the scores of every text, from which everything else can be computed again.
void write_sink_arrays(const std::filesystem::path& file, const SinkRun& run);
/// The study of a result's arrays. Throws DataError when the file is none of `kvviz sinks`.
analysis::SinkStudy read_sink_study(const std::filesystem::path& file);

}  // namespace kvviz
