// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "kvviz/tokenizer/regex.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"
#include "kvviz/tokenizer/trie.hpp"

namespace kvviz {

/// Finds added tokens in text, the leftmost first and of those the longest. Special ones take part in the
/// search, so that they shadow what they overlap, but stay text. One with single_word is found only between
/// characters that are no part of a word; lstrip and rstrip take the white space before and after along.
/// The rules are those of the package tokenizers with `encode_special_tokens`.
class AddedTokenFinder {
 public:
  struct Part {
    std::string_view text;
    std::optional<int32_t> id;  ///< of an added token; none: ordinary text
  };

  AddedTokenFinder() = default;
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  /// The parts of a valid UTF-8 text, in order, none empty. Thread-safe. Cost: one pass.
  std::vector<Part> split(std::string_view text) const;

 private:
  struct Match {
    size_t begin, end;
    const AddedToken* token;
  };

  std::optional<Match> next_match(std::string_view text, size_t from) const;
  bool stands_alone(const Match& match, std::string_view text) const;

  std::vector<AddedToken> tokens_;
  Trie texts_;
  std::optional<Regex> word_start_;
};

}  // namespace kvviz
