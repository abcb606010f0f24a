// SPDX-License-Identifier: MIT
#include "kvviz/download/choose_files.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "kvviz/core/error.hpp"
#include "kvviz/download/url.hpp"
#include "kvviz/hub/gguf_choice.hpp"

namespace kvviz::hub {
namespace {

constexpr const char* settings_files[] = {
    "config.json", "generation_config.json", "tokenizer.json",          "tokenizer.model",  "vocab.json",
    "merges.txt",  "tokenizer_config.json",  "special_tokens_map.json", "added_tokens.json"};

struct WeightFile {
  const char* file;
  const char* kind;
};

constexpr WeightFile weight_files[] = {{"model.safetensors", "safetensors"},
                                       {"model.safetensors.index.json", "safetensors"},
                                       {"pytorch_model.bin", "pytorch"},
                                       {"pytorch_model.bin.index.json", "pytorch"}};

bool has(const std::vector<std::string>& files, const std::string& file) {
  return std::ranges::find(files, file) != files.end();
}

FileChoice one_gguf_model(const std::vector<std::string>& files, const ChooseOptions& options) {
  require(!gguf_files(files).empty(),
          "the repository has no GGUF file; without --gguf its other weights are taken");
  try {
    return {.files = gguf_parts(files, choose_gguf(files, options.wanted)), .weights = "gguf"};
  } catch (const UsageError& error) {
    throw UsageError(cat(error.what(), "; give --gguf FILE, or its quantisation"));
  }
}

}  // namespace

FileChoice choose_files(const std::vector<std::string>& files, const ChooseOptions& options) {
  const auto weights =
      std::ranges::find_if(weight_files, [&](const WeightFile& form) { return has(files, form.file); });
  const bool found = weights != std::end(weight_files);
  if (options.gguf || (options.weights && !found && !gguf_files(files).empty()))
    return one_gguf_model(files, options);
  require(
      found || !options.weights,
      "the repository has no weights that kvviz reads; expected model.safetensors, ",
      "pytorch_model.bin, their shards, or a GGUF file",
      has(files, "adapter_config.json") ? "; it holds an adapter: merge it into its base model first" : "");
  require(has(files, "config.json"),
          "the repository has no config.json; expected a model of Hugging Face transformers");
  FileChoice choice;
  for (const char* file : settings_files)
    if (has(files, file)) choice.files.emplace_back(file);
  if (!options.weights) return choice;
  choice.files.emplace_back(weights->file);
  choice.weights = weights->kind;
  if (choice.files.back().ends_with(".index.json")) choice.index = weights->file;
  return choice;
}

std::vector<std::string> shards_of(const std::string& index, const std::string& text,
                                   const std::vector<std::string>& files) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const bool shaped = json.is_object() && json.contains("weight_map") && json["weight_map"].is_object();
  require(shaped && !json["weight_map"].empty(), index,
          " is damaged: expected JSON with a weight_map from tensors to files");
  std::set<std::string> shards;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    require(file.is_string(), index, " is damaged: the file of the tensor ", printable(tensor, 80),
            " is no text");
    shards.insert(file.get<std::string>());
  }
  for (const std::string& shard : shards)
    require(has(files, shard), index, " names ", printable(shard, 120), ", which is not in the repository");
  return {shards.begin(), shards.end()};
}

}  // namespace kvviz::hub
