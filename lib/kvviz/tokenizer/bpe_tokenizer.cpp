// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/bpe_tokenizer.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

/// Encodes words, remembering where in the output a word was encoded before.
class WordEncoder {
 public:
  WordEncoder(const Bpe& bpe, std::vector<int32_t>& ids) : bpe_(bpe), ids_(ids) {}

  void operator()(std::string_view word) {
    constexpr size_t longest = 48;
    constexpr size_t most = 1 << 17;
    const auto known = seen_.find(word);
    if (known != seen_.end()) {
      for (size_t i = 0; i < known->second.count; ++i) ids_.push_back(ids_[known->second.begin + i]);
      return;
    }
    const size_t begin = ids_.size();
    bpe_.encode(word, workspace_, ids_);
    if (word.size() <= longest && seen_.size() < most) seen_.emplace(word, Place{begin, ids_.size() - begin});
  }

 private:
  struct Place {
    size_t begin;
    size_t count;
  };
  const Bpe& bpe_;
  std::vector<int32_t>& ids_;
  Bpe::Workspace workspace_;
  std::unordered_map<std::string, Place, TextHash, std::equal_to<>> seen_;
};

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.text.empty(); });
  if (std::all_of(tokens_.begin(), tokens_.end(), [](const AddedToken& t) { return t.special; })) return;
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.text.size() > b.text.size(); });
  std::string pattern;
  for (const AddedToken& token : tokens_) {
    require(token.special || token.plain, "[tokenizer] the added token '", token.text,
            "' with lstrip, rstrip or single_word is not supported");
    pattern += cat(pattern.empty() ? "" : "|", literal_pattern(token.text));
  }
  regex_.emplace(pattern);
}

std::vector<AddedTokenFinder::Part> AddedTokenFinder::split(std::string_view text) const {
  std::vector<Part> parts;
  size_t end = 0;
  const auto add_text = [&](size_t until) {
    if (until > end) parts.push_back({text.substr(end, until - end), std::nullopt});
  };
  for (const ByteRange& match : regex_ ? regex_->find_all(text) : std::vector<ByteRange>{}) {
    const std::string_view found = text.substr(match.begin, match.end - match.begin);
    const auto token =
        std::find_if(tokens_.begin(), tokens_.end(), [&](const AddedToken& t) { return t.text == found; });
    if (token->special) continue;
    add_text(match.begin);
    parts.push_back({found, token->id});
    end = match.end;
  }
  add_text(text.size());
  return parts;
}

BpeTokenizer::BpeTokenizer(BpeDescription description)
    : parts_(std::move(description)), bpe_(std::exchange(parts_.rules, {})) {}

std::vector<int32_t> BpeTokenizer::encode(std::string_view text) const {
  require_utf8(text);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  WordEncoder encode_word(bpe_, ids);
  bool first = true;
  for (const AddedTokenFinder::Part& raw : parts_.raw_tokens.split(text)) {
    if (raw.id) {
      ids.push_back(*raw.id);
    } else {
      const std::string normal = parts_.normalizer(raw.text);
      for (const AddedTokenFinder::Part& part : parts_.normalized_tokens.split(normal)) {
        if (part.id) {
          ids.push_back(*part.id);
        } else {
          parts_.pre_tokenizer({part.text, first}, [&](Stretch word) { encode_word(word.text); });
        }
        first = false;
      }
    }
    first = false;
  }
  return ids;
}

std::string BpeTokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string bytes;
  for (const int32_t id : ids) {
    require(id >= 0 && id < vocabulary() &&
                parts_.tokens[static_cast<size_t>(id)].kind != BpeToken::Kind::missing,
            "[tokenizer] token id ", id, " is not in the vocabulary of ", vocabulary(), " tokens");
    const BpeToken& token = parts_.tokens[static_cast<size_t>(id)];
    if (token.kind == BpeToken::Kind::text) bytes += token.bytes;
  }
  const bool strip = parts_.strips_leading_space && bytes.starts_with(' ');
  return to_utf8(std::string_view(bytes).substr(strip ? 1 : 0), BadBytes::replacement);
}

std::string BpeTokenizer::piece(int32_t id) const {
  if (id < 0 || id >= vocabulary()) return cat("<id ", id, '>');
  const BpeToken& token = parts_.tokens[static_cast<size_t>(id)];
  return token.kind == BpeToken::Kind::missing ? cat("<id ", id, '>') : to_utf8(token.bytes, BadBytes::hex);
}

}  // namespace kvviz
