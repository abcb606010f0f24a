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
  int threads = 0;            ///< 0: those of this process
  std::string bf16_products;  ///< how matrices of bf16 are multiplied with many rows; empty: there are none
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
  bool quiet = false;  ///< no progress of the reading on stderr
};

OpenedFolder open_folder(const ModelOptions& options, const CallOptions& call);

/// Loads the weights, for texts of at most so many tokens, of which a layer sees `at_once` (0: all). Throws
/// DataError where weights, cache and a forward pass are not expected to fit into memory (with the numbers,
/// and what would fit), unless --force is given. Progress goes to `on_bytes` (LoadOptions), without it to
/// stderr.
Runner load_runner(OpenedFolder opened, int64_t tokens, int64_t at_once = 0,
                   std::function<void(int64_t done, int64_t total)> on_bytes = {});

struct RunRequest {
  kernels::AttentionRequest attention;
  bool score = true;
  bool quiet = false;
  Probe probe{};                                  ///< as Session::Watch::probe
  std::function<void(const LayerQkv&)> on_qkv{};  ///< as Session::Watch::on_qkv
};

/// Runs the text through the model: its cache, and what the request asks for.
Subject run_model(const Runner& runner, const TextInput& text, const RunRequest& request);

/// Keys and values of a cache file. Throws DataError as io::CacheFile and validate() do.
Subject open_cache(const std::filesystem::path& file);

struct CacheRequest {
  kernels::AttentionRequest attention;
  bool needs_queries = false;  ///< without them it is an error; else attention is left out
  bool quiet = false;
};

/// The same, and what the file's queries and losses give: attention of each layer, from queries and keys as
/// they are held, and the scores of the text. Throws UsageError where the file lacks queries that are needed,
/// DataError where they are not finite, or stand where ALiBi has no distance for them.
Subject measure_cache(const std::filesystem::path& file, const CacheRequest& request);

SubjectOrigin origin_of(const Runner& runner);
SubjectOrigin origin_of(const Runner& runner, const TextInput& text);

}  // namespace kvviz
