// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/bpe.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

constexpr int32_t none = -1;
constexpr int32_t merged_away = -2;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

void append(int32_t id, Bpe::Workspace& workspace) {
  const auto position = static_cast<int32_t>(workspace.symbols.size());
  if (position > 0) workspace.symbols.back().next = position;
  workspace.symbols.push_back({id, position - 1, none});
}

bool later(const Bpe::Workspace::Candidate& a, const Bpe::Workspace::Candidate& b) {
  return std::pair(a.rank, a.position) > std::pair(b.rank, b.position);
}

}  // namespace

Bpe::Bpe(BpeRules rules) : rules_(std::move(rules)) {
  pairs_.reserve(rules_.merges.size());
  for (const BpeMerge& merge : rules_.merges) {
    pairs_[pair_key(merge.left, merge.right)] = {merge.rank, merge.result};
  }
  rules_.merges = {};
}

const Bpe::Merged* Bpe::merged(int32_t left, int32_t right) const {
  const auto found = pairs_.find(pair_key(left, right));
  return found == pairs_.end() ? nullptr : &found->second;
}

void Bpe::push(int32_t position, Workspace& workspace) const {
  const Workspace::Symbol& symbol = workspace.symbols[static_cast<size_t>(position)];
  if (symbol.next == none) return;
  const Merged* merge = merged(symbol.id, workspace.symbols[static_cast<size_t>(symbol.next)].id);
  if (merge == nullptr) return;
  workspace.heap.push_back({merge->rank, position, merge->result});
  std::push_heap(workspace.heap.begin(), workspace.heap.end(), later);
}

void Bpe::start_character(std::string_view character, Workspace& workspace) const {
  if (const auto token = rules_.text_tokens.find(character); token != rules_.text_tokens.end()) {
    return append(token->second, workspace);
  }
  const auto byte_token = [&](char c) { return rules_.byte_tokens[static_cast<uint8_t>(c)]; };
  if (std::all_of(character.begin(), character.end(), [&](char c) { return byte_token(c).has_value(); })) {
    for (const char c : character) append(*byte_token(c), workspace);
    return;
  }
  require(rules_.unknown.has_value(), "[tokenizer] the character ", character,
          " is not in the vocabulary, which has neither its bytes nor a token for what is unknown");
  const bool fuse =
      rules_.fuse_unknown && !workspace.symbols.empty() && workspace.symbols.back().id == rules_.unknown;
  if (!fuse) append(*rules_.unknown, workspace);
}

void Bpe::start(std::string_view word, Workspace& workspace) const {
  workspace.symbols.clear();
  workspace.heap.clear();
  if (rules_.alphabet == BpeRules::Alphabet::characters) {
    while (!word.empty()) {
      const size_t length = first_unit(word).length;
      start_character(word.substr(0, length), workspace);
      word.remove_prefix(length);
    }
    return;
  }
  for (const char c : word) {
    const std::optional<int32_t> id = rules_.byte_tokens[static_cast<uint8_t>(c)];
    require(id.has_value() || rules_.unknown.has_value(), "[tokenizer] byte ", int{static_cast<uint8_t>(c)},
            " of the text has no token in the vocabulary");
    append(id ? *id : *rules_.unknown, workspace);
  }
}

void Bpe::encode(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const {
  if (rules_.whole_words) {
    if (const auto token = rules_.text_tokens.find(word); token != rules_.text_tokens.end()) {
      ids.push_back(token->second);
      return;
    }
  }
  require(word.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()), "[tokenizer] a stretch of ",
          word.size(), " bytes is too long to be encoded at once");
  start(word, workspace);
  std::vector<Workspace::Symbol>& symbols = workspace.symbols;
  const auto count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i + 1 < count; ++i) push(i, workspace);

  while (!workspace.heap.empty()) {
    std::pop_heap(workspace.heap.begin(), workspace.heap.end(), later);
    const Workspace::Candidate best = workspace.heap.back();
    workspace.heap.pop_back();
    Workspace::Symbol& left = symbols[static_cast<size_t>(best.position)];
    if (left.next == merged_away || left.next == none) continue;
    Workspace::Symbol& right = symbols[static_cast<size_t>(left.next)];
    // A pair whose symbols have merged otherwise since it was pushed is stale.
    const Merged* merge = merged(left.id, right.id);
    if (merge == nullptr || merge->result != best.result) continue;
    left.id = best.result;
    left.next = std::exchange(right.next, merged_away);
    if (left.next != none) symbols[static_cast<size_t>(left.next)].previous = best.position;
    if (left.previous != none) push(left.previous, workspace);
    push(best.position, workspace);
  }
  for (int32_t i = count > 0 ? 0 : none; i != none; i = symbols[static_cast<size_t>(i)].next) {
    ids.push_back(symbols[static_cast<size_t>(i)].id);
  }
}

}  // namespace kvviz
