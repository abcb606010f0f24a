// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace kvviz {

/// What stands before byte-level BPE, for files that only name it.
struct WordRules {
  nlohmann::json normalizer;     ///< as in tokenizer.json; null: none
  nlohmann::json pre_tokenizer;  ///< as in tokenizer.json
  bool whole_words = false;      ///< a word that is a token stays whole ("ignore_merges")
  bool adds_bos = false;         ///< unless the file says otherwise
};

/// The rules behind a name of "tokenizer.ggml.pre" in GGUF files, as the model's own tokenizer.json has them;
/// none for an unknown name. "default" has no such original: it is what llama.cpp does.
std::optional<WordRules> word_rules(std::string_view name);

/// The known names, for an error.
std::string word_rule_names();

}  // namespace kvviz
