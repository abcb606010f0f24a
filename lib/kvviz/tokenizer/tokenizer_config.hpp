// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace kvviz {

/// A token beside those of the vocabulary's own training, as tokenizer.json's "added_tokens",
/// tokenizer_config.json's "added_tokens_decoder" or added_tokens.json lists it.
struct AddedToken {
  int32_t id = 0;
  std::string text;
  bool special =
      false;  ///< marks structure (<s>, <|im_end|>): never found in text, never part of decoded text
  bool normalized = false;  ///< looked for after normalisation
  bool plain = true;        ///< false: it takes blanks along or wants word boundaries
};

/// What the files beside the vocabulary say. Absent where no file says it.
struct TokenizerConfig {
  std::string tokenizer_class;  ///< without the suffix "Fast"; "" when unknown
  std::string model_type;       ///< of config.json; "" when unknown
  std::optional<bool> adds_bos;
  std::optional<std::string> bos, eos;
  std::optional<int32_t> bos_id, eos_id;  ///< of config.json; of several EOS the first
  bool adds_prefix_space = false;
  std::vector<AddedToken> added;
  std::vector<std::filesystem::path>
      files;  ///< the files read that belong to the tokenizer (not config.json)
};

/// Reads tokenizer_config.json, special_tokens_map.json, added_tokens.json and config.json, each where it
/// exists. tokenizer_config.json goes before special_tokens_map.json. Throws DataError on corrupt JSON.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);

/// The JSON of a file. Throws DataError naming the file and the place of a syntax error.
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
