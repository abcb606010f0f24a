// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "kvviz/download/http.hpp"
#include "kvviz/hub/model_name.hpp"

namespace kvviz::hub {

struct PullOptions {
  ModelName name;               ///< `gguf`: this model in place of everything else
  std::filesystem::path cache;  ///< hub::cache_folder()
  bool weights = true;          ///< false: config.json and the tokenizer only
  bool verify = false;          ///< hash what is in the cache already
  bool dry_run = false;         ///< only say what would be downloaded
  int connections = 4;          ///< at once
};

struct PulledFile {
  std::string name;
  std::string hash;  ///< SHA-256 of large files, git's SHA-1 of the others
  int64_t bytes = 0;
  int64_t missing = 0;  ///< bytes of it that were not in the cache before
};

struct PullResult {
  std::string commit;
  std::string weights;           ///< safetensors, pytorch, gguf; empty: none were asked for
  std::filesystem::path folder;  ///< the snapshot; with dry_run it need not exist
  std::vector<PulledFile> files;
  int64_t bytes = 0;     ///< of all files, each content once
  int64_t missing = 0;   ///< of these, not in the cache before
  int64_t received = 0;  ///< over the network, of files
};

/// Called from several threads, one at a time: bytes that are there, of so many.
using PullProgress = std::function<void(int64_t done, int64_t total)>;

/// Downloads the files of a model that kvviz needs (choose_files()) into the cache. The snapshot's links are
/// made when every file is there and checked, the ref of the revision last: a model that can be found is
/// whole. Asks for disk space before. Broken off, it goes on where it was the next time; several at once, or
/// one beside Python's huggingface_hub, do not disturb each other. Throws DataError, Stopped when stopped,
/// UsageError when a GGUF file has to be named.
PullResult pull(const HttpSettings& settings, const PullOptions& options, const PullProgress& progress,
                std::stop_token stop = {});

}  // namespace kvviz::hub
