// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/core/error.hpp"

namespace kvviz {

/// What an error about an unknown kind says.
constexpr std::string_view supported_tokenizers =
    "SentencePiece (tokenizer.model), BPE and Unigram (tokenizer.json), byte-level BPE of GPT-2 and Qwen2 "
    "(vocab.json + merges.txt), GGUF's llama and gpt2";

/// A token beside those of the vocabulary's own training, as tokenizer.json's "added_tokens",
/// tokenizer_config.json's "added_tokens_decoder" or added_tokens.json lists it.
struct AddedToken {
  int32_t id = 0;
  std::string text;
  bool special =
      false;  ///< marks structure (<s>, <|im_end|>): never found in text, never part of decoded text
  bool normalized = false;   ///< looked for after normalisation
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< and that after it
  bool single_word = false;  ///< found only where no part of a word is beside it
};

/// What the files beside the vocabulary say. Absent where no file says it.
struct TokenizerConfig {
  std::string tokenizer_class;  ///< without the suffix "Fast"; "" when unknown
  std::string model_type;       ///< of config.json; "" when unknown
  std::optional<bool> adds_bos;
  std::optional<std::string> bos, eos;
  std::optional<int32_t> bos_id, eos_id;  ///< of config.json; of several EOS the first
  std::optional<bool> adds_prefix_space;
  bool legacy = true;  ///< transformers' first treatment of tokenizer.model
  std::vector<AddedToken> added;
  std::vector<std::filesystem::path>
      files;  ///< the files read that belong to the tokenizer (not config.json)
};

/// Reads tokenizer_config.json, special_tokens_map.json, added_tokens.json and config.json, each where it
/// exists. tokenizer_config.json goes before special_tokens_map.json. Throws DataError on corrupt JSON.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);

/// The SHA-256 over `files` and the configuration's.
std::string hash_of(std::vector<std::filesystem::path> files, const TokenizerConfig& config);

/// What `work` gives; its errors name the file.
template <class Work>
auto naming_file(const std::filesystem::path& file, const Work& work) {
  try {
    return work();
  } catch (const std::exception& error) {
    throw DataError(cat(error.what(), " (", file.string(), ')'));
  }
}

/// Ids are below this.
constexpr int64_t most_tokens = 1 << 22;

/// `value`, which stands for `token`. Throws DataError unless it is an integer in [0, most_tokens).
int32_t token_id(const nlohmann::json& value, std::string_view token);

/// Throws DataError unless `id` is in [0, most_tokens).
void check_token_id(int64_t id, std::string_view token);

/// JSON text. Throws DataError for a syntax error, naming its place, and for more than 64 levels.
nlohmann::json parse_json(std::string_view text);

/// The JSON of a file. Throws DataError as parse_json(), naming the file.
nlohmann::json read_json(const std::filesystem::path& file);

/// An entry of "added_tokens" or "added_tokens_decoder".
AddedToken added_token(int32_t id, const nlohmann::json& entry);

/// The ids that a model's sequences begin and end with.
struct SequenceEnds {
  std::optional<int32_t> bos, eos;
  bool adds_bos = false;
};

/// BOS and EOS: the configured name if the vocabulary has it, else the vocabulary's default, else
/// config.json's id. `id_of` looks a name up. Throws DataError when the configuration adds a BOS that does
/// not exist.
SequenceEnds sequence_ends(const TokenizerConfig& config, const SequenceEnds& defaults,
                           const std::function<std::optional<int32_t>(const std::string&)>& id_of);

}  // namespace kvviz
