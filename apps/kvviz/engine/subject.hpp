// SPDX-License-Identifier: MIT
#pragma once
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/engine/text_input.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/figures/generation_figures.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/options.hpp"

namespace kvviz {

/// Where a subject came from, for the provenance block.
struct SubjectOrigin {
  std::string model, architecture, dtype, model_sha256, tokenizer_sha256, text, text_sha256, bos;
};

/// What is analysed: a cache, and when a model made it, what the model did on the way.
struct Subject {
  KvCache cache;
  std::vector<std::vector<kernels::HeadAttention>> attention;  ///< [layer][query head]; empty: not measured
  std::optional<TokenScores> scores;                           ///< absent: no model, or a single token
  SubjectOrigin origin;
};

/// A model with its tokenizer, loaded.
struct Runner {
  LoadedModel model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string folder;
  std::shared_future<std::string> model_sha256;  ///< computed beside the work
};

Runner open_runner(const ModelOptions& options, const CallOptions& call);

/// Runs the text through the model: cache, attention as `request` says, scores.
Subject run_model(const Runner& runner, const TextInput& text, const kernels::AttentionRequest& request, bool quiet);

SubjectOrigin origin_of(const Runner& runner, const TextInput& text);

}  // namespace kvviz
