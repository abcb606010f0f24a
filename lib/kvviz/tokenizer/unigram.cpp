// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/unigram.hpp"

#include <algorithm>
#include <limits>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

constexpr double unknown_penalty = 10.0;
constexpr int32_t unknown_character = -1;

}  // namespace

Unigram::Unigram(UnigramRules rules) : unknown_(rules.unknown), byte_tokens_(rules.byte_tokens) {
  std::vector<Trie::Entry> entries;
  entries.reserve(rules.pieces.size());
  double lowest = std::numeric_limits<double>::infinity();
  // Of pieces with the same text the last counts, as in the package's table.
  for (size_t i = rules.pieces.size(); i-- > 0;) {
    entries.emplace_back(std::move(rules.pieces[i].text), static_cast<int32_t>(i));
  }
  for (const UnigramRules::Piece& piece : rules.pieces) {
    scores_.push_back(piece.score);
    lowest = std::min(lowest, piece.score);
  }
  unknown_score_ = lowest - unknown_penalty;
  texts_ = Trie(std::move(entries));
}

void Unigram::find_path(std::string_view word, Workspace& workspace) const {
  std::vector<Workspace::Best>& ends = workspace.ends;
  ends.assign(word.size() + 1, {0.0, -1, unknown_character});
  for (size_t begin = 0; begin < word.size();) {
    const size_t character = first_unit(word.substr(begin)).length;
    const double so_far = ends[begin].score;
    const auto offer = [&](size_t length, double score, int32_t id) {
      Workspace::Best& end = ends[begin + length];
      if (end.begin < 0 || so_far + score > end.score) {
        end = {so_far + score, static_cast<int64_t>(begin), id};
      }
    };
    bool covered = false;
    texts_.prefixes(word.substr(begin), [&](size_t length, int32_t id) {
      offer(length, scores_[static_cast<size_t>(id)], id == unknown_ ? unknown_character : id);
      covered = covered || length == character;
    });
    if (!covered) offer(character, unknown_score_, unknown_character);
    begin += character;
  }
}

std::optional<int32_t> Unigram::find(std::string_view text) const {
  std::optional<int32_t> found;
  texts_.prefixes(text, [&](size_t length, int32_t id) {
    if (length == text.size()) found = id;
  });
  return found;
}

void Unigram::append_unknown(std::string_view text, std::vector<int32_t>& reversed) const {
  if (const std::optional<int32_t> id = find(text)) return reversed.push_back(*id);
  const bool bytes = std::all_of(text.begin(), text.end(),
                                 [&](char c) { return byte_tokens_[static_cast<uint8_t>(c)].has_value(); });
  if (bytes) {
    for (size_t i = text.size(); i-- > 0;) {
      reversed.push_back(*byte_tokens_[static_cast<uint8_t>(text[i])]);
    }
    return;
  }
  require(unknown_.has_value(), "[tokenizer] the characters ", text,
          " are not in the vocabulary, which has neither their bytes nor a token for what is unknown");
  reversed.push_back(*unknown_);
}

void Unigram::encode(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const {
  find_path(word, workspace);
  std::vector<int32_t>& reversed = workspace.ids;
  reversed.clear();
  for (size_t end = word.size(); end > 0;) {
    const Workspace::Best& best = workspace.ends[end];
    auto begin = static_cast<size_t>(best.begin);
    if (best.id != unknown_character) {
      reversed.push_back(best.id);
    } else {
      while (begin > 0 && workspace.ends[begin].id == unknown_character) {
        begin = static_cast<size_t>(workspace.ends[begin].begin);
      }
      append_unknown(word.substr(begin, end - begin), reversed);
    }
    end = begin;
  }
  ids.insert(ids.end(), reversed.rbegin(), reversed.rend());
}

}  // namespace kvviz
