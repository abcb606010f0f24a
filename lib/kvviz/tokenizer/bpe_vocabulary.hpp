// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "kvviz/tokenizer/bpe_tokenizer.hpp"

namespace kvviz {

/// The two halves of a merge as the file writes them.
using MergeText = std::pair<std::string, std::string>;

/// Merges as tokenizer.json lists them: "a b" or ["a", "b"]. Throws DataError naming a malformed one.
std::vector<MergeText> merges_from_json(const nlohmann::json& merges);

/// The lines of merges.txt; a first line "#version..." is a comment. Throws DataError naming a malformed
/// line.
std::vector<MergeText> merges_from_text(std::string_view text);

/// Fills tokens and rules (alphabet as already set in `description.rules`) from a vocabulary {"token": id}
/// and its merges. In the bytes alphabet each character of a token stands for a byte (GPT-2's
/// bytes_to_unicode). Throws DataError: ids that are negative, too large or double; merges of tokens that do
/// not exist.
void fill_vocabulary(const nlohmann::json& vocabulary, const std::vector<MergeText>& merges,
                     BpeDescription& description);

/// Names the added tokens in `description.tokens` and sets up the search for them in text.
void fill_added_tokens(const std::vector<AddedToken>& added, BpeDescription& description);

}  // namespace kvviz
