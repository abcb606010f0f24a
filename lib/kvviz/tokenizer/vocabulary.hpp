// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvviz/tokenizer/pipeline_tokenizer.hpp"

namespace kvviz {

/// A token as its file writes it.
struct VocabularyEntry {
  std::string text;
  int32_t id;
};

/// The entries of {"token": id}. Throws DataError when there are none, and for what is no id.
std::vector<VocabularyEntry> vocabulary_entries(const nlohmann::json& vocabulary);

/// The two halves of a merge as the file writes them.
using MergeText = std::pair<std::string, std::string>;

/// The halves of "a b". Throws DataError naming a malformed merge.
MergeText split_merge(std::string_view merge);

/// The lines of merges.txt; a first line "#version..." is a comment. Throws DataError naming a malformed
/// line.
std::vector<MergeText> merges_from_text(std::string_view text);

/// Fills parts.tokens and `rules` (alphabet and whole_words as already set) from a vocabulary and its merges,
/// the first of which is applied first, and gives the id of each token as written. In the bytes alphabet each
/// character of a token stands for a byte (byte_alphabet.hpp). Throws DataError: ids that are negative, too
/// large or double; merges of tokens that do not exist.
TextIds fill_bpe(const std::vector<VocabularyEntry>& vocabulary, const std::vector<MergeText>& merges,
                 BpeRules& rules, TokenizerParts& parts);

/// The byte of a token like "<0xE4>"; none for another.
std::optional<uint8_t> fallback_byte(std::string_view token);

/// The token with a text that is written with U+2581 for a space, or a byte.
Token metaspace_token(std::string_view written);

/// The id of a token as written.
std::optional<int32_t> find_id(const TextIds& ids, const std::string& token);

/// Names the added tokens in parts.tokens and sets up the search for them in text.
void fill_added_tokens(const std::vector<AddedToken>& added, TokenizerParts& parts);

/// Where nothing names a BOS or EOS and the vocabulary has GPT-2's "<|endoftext|>", that is the one; both
/// become special.
void name_ends(const TextIds& ids, TokenizerParts& parts);

}  // namespace kvviz
