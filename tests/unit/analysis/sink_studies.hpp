// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/analysis/sink_study.hpp"

namespace kvviz::test {

inline const analysis::SinkRule legacy_rule{analysis::SinkMetric::share0, 0.9};

inline analysis::SinkStudy study_of(int64_t layers, int64_t heads, int64_t kv_heads = 1) {
  analysis::SinkStudy study;
  for (int64_t l = 0; l < layers; ++l)
    for (int64_t h = 0; h < heads; ++h)
      study.heads.push_back(
          {static_cast<int>(l), static_cast<int>(h), static_cast<int>(h / (heads / kv_heads))});
  return study;
}

/// A text with the given share0 scores; every other metric has none.
inline void add_text(analysis::SinkStudy& study, const std::vector<double>& scores) {
  analysis::PromptSinks prompt{.name = "text", .tokens = 10};
  for (auto& score : prompt.score) score.assign(scores.size(), analysis::kNone);
  prompt.score[static_cast<size_t>(analysis::SinkMetric::share0)] = scores;
  study.prompts.push_back(prompt);
}

}  // namespace kvviz::test
