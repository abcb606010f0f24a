// SPDX-License-Identifier: MIT
#pragma once
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/engine/text_input.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/options.hpp"

namespace kvviz {

/// Where a subject came from, for the provenance block.
struct SubjectOrigin {
  std::string model, architecture, dtype, stored_dtype = {}, device = "cpu", model_sha256, tokenizer_sha256,
                                          text, text_sha256, bos;
  int threads = 0;  ///< 0: those of this process
};

/// What is analysed: a cache, and when a model made it, what the model did on the way.
struct Subject {
  KvCache cache;
  std::vector<std::vector<kernels::HeadAttention>> attention;  ///< [layer][query head]; empty: not measured
  bool has_model = false;                                      ///< false: read from a cache file
  std::optional<TokenScores> scores;                           ///< absent: not asked for, or a single token
  SubjectOrigin origin;
};

/// A model with its tokenizer, loaded.
struct Runner {
  LoadedModel model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string folder;
  std::shared_future<std::string> model_sha256;  ///< computed beside the work
};

/// A model's folder before its weights are read: what can be wrong with a text is found first.
struct OpenedFolder {
  std::filesystem::path folder;
  std::string name;  ///< as the user gave it
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
  ModelOptions options;
  at::Device device = at::kCPU;
};

OpenedFolder open_folder(const ModelOptions& options, const CallOptions& call);

/// Loads the weights, for texts of at most so many tokens, of which a layer sees `at_once` (0: all). Throws
/// DataError where weights, cache and a forward pass are not expected to fit into memory (with the numbers,
/// and what would fit), unless --force is given.
Runner load_runner(OpenedFolder opened, int64_t tokens, int64_t at_once = 0);

struct RunRequest {
  kernels::AttentionRequest attention;
  bool score = true;
  bool quiet = false;
  Probe probe{};  ///< as Session::Watch::probe
};

/// Runs the text through the model: its cache, and what the request asks for.
Subject run_model(const Runner& runner, const TextInput& text, const RunRequest& request);

/// Reads a cache file. Throws DataError as io::CacheFile and validate() do.
Subject open_cache(const std::filesystem::path& file);

SubjectOrigin origin_of(const Runner& runner);
SubjectOrigin origin_of(const Runner& runner, const TextInput& text);
/// Of several texts as one.
SubjectOrigin origin_of_all(const Runner& runner, std::span<const TextInput> texts);

}  // namespace kvviz
