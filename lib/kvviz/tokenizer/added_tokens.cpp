// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/added_tokens.hpp"

#include <algorithm>
#include <utility>

#include "kvviz/tokenizer/unicode.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

// A character of a word as Rust's regular expressions have it (UTS 18, annex C: \w).
constexpr const char* word_character = R"(\A[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])";

std::string_view first_character(std::string_view text) {
  return text.substr(0, first_unit(text).length);
}

std::string_view last_character(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return text.substr(begin);
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  if (std::all_of(tokens_.begin(), tokens_.end(), [](const AddedToken& t) { return t.special; })) {
    tokens_.clear();
    return;
  }
  // Of equal texts the first counts, and special tokens come first.
  std::stable_partition(tokens_.begin(), tokens_.end(), [](const AddedToken& t) { return t.special; });
  std::vector<Trie::Entry> entries;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    entries.emplace_back(tokens_[i].text, static_cast<int32_t>(i));
    if (tokens_[i].single_word && !word_start_) word_start_.emplace(word_character);
  }
  texts_ = Trie(std::move(entries));
}

std::optional<AddedTokenFinder::Match> AddedTokenFinder::next_match(std::string_view text,
                                                                    size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!texts_.starts(text[begin])) continue;
    std::optional<Match> longest;
    texts_.prefixes(text.substr(begin), [&](size_t length, int32_t token) {
      longest = Match{begin, begin + length, &tokens_[static_cast<size_t>(token)]};
    });
    if (longest) return longest;
  }
  return std::nullopt;
}

bool AddedTokenFinder::stands_alone(const Match& match, std::string_view text) const {
  const auto in_word = [&](std::string_view character) { return !word_start_->find_all(character).empty(); };
  return (match.begin == 0 || !in_word(last_character(text.substr(0, match.begin)))) &&
         (match.end == text.size() || !in_word(first_character(text.substr(match.end))));
}

std::vector<AddedTokenFinder::Part> AddedTokenFinder::split(std::string_view text) const {
  std::vector<Part> parts;
  size_t done = 0;
  const auto add_text = [&](size_t until) {
    if (until > done) parts.push_back({text.substr(done, until - done), std::nullopt});
  };
  if (!texts_.empty()) {
    for (auto match = next_match(text, 0); match; match = next_match(text, match->end)) {
      const AddedToken& token = *match->token;
      if (token.special || (token.single_word && !stands_alone(*match, text))) continue;
      size_t begin = match->begin;
      size_t end = match->end;
      if (token.lstrip) begin = std::max(begin - trailing_blanks(text.substr(0, begin)), done);
      if (token.rstrip) end += leading_blanks(text.substr(end));
      add_text(begin);
      // A match inside blanks that the token before took along counts all the same, as in the package.
      parts.push_back({text.substr(match->begin, match->end - match->begin), token.id});
      done = end;
    }
  }
  add_text(text.size());
  return parts;
}

}  // namespace kvviz
