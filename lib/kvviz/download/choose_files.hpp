// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

namespace kvviz::hub {

/// What of a repository kvviz needs.
struct FileChoice {
  std::vector<std::string> files;
  std::string index;    ///< one of `files` whose shards are to be added (shards_of()); empty: none
  std::string weights;  ///< safetensors, pytorch, gguf; empty: none were asked for
};

struct ChooseOptions {
  bool weights = true;
  bool gguf = false;   ///< one GGUF model in place of everything else
  std::string wanted;  ///< which: a file or a quantisation; empty: the only one
};

/// config.json, generation_config.json, the tokenizer's files, and the weights in the first of these forms
/// that is there: model.safetensors, model.safetensors.index.json with its shards, the same of
/// pytorch_model.bin. Of a repository that has GGUF files alone, one model with all its parts. Throws
/// UsageError when a GGUF file has to be named (choose_gguf()), DataError when there is no model kvviz reads,
/// no GGUF file where one is asked for, or not all of its parts.
FileChoice choose_files(const std::vector<std::string>& files, const ChooseOptions& options);

/// The shards that an index (`*.index.json`) lists in "weight_map", beside the index. Throws DataError when
/// it is damaged, or when a shard is not among `files`.
std::vector<std::string> shards_of(const std::string& index, const std::string& text,
                                   const std::vector<std::string>& files);

}  // namespace kvviz::hub
