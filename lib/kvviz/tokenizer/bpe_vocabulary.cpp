// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/bpe_vocabulary.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

constexpr int32_t most_tokens = 1 << 22;

// GPT-2 writes a byte as a printable character: itself where it is one in Latin-1, else U+0100 and up in
// order.
std::unordered_map<std::string, char, TextHash, std::equal_to<>> bytes_of_characters() {
  std::unordered_map<std::string, char, TextHash, std::equal_to<>> bytes;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const int code = printable ? byte : next++;
    const std::string character = code < 0x80 ? std::string{static_cast<char>(code)}
                                              : std::string{static_cast<char>(0xC0 | code >> 6),
                                                            static_cast<char>(0x80 | (code & 0x3F))};
    bytes.emplace(character, static_cast<char>(byte));
  }
  return bytes;
}

/// Turns a token as the vocabulary writes it into the bytes it stands for.
class TokenBytes {
 public:
  explicit TokenBytes(BpeRules::Alphabet alphabet) : alphabet_(alphabet), bytes_(bytes_of_characters()) {}

  std::string operator()(std::string_view token) const {
    return alphabet_ == BpeRules::Alphabet::bytes ? mapped(token) : replaced(token, metaspace, " ");
  }

 private:
  // A token with a character outside the byte alphabet cannot come out of a merge; it stands for itself.
  std::string mapped(std::string_view token) const {
    std::string out;
    for (std::string_view rest = token; !rest.empty();) {
      const size_t length = first_unit(rest).length;
      const auto byte = bytes_.find(rest.substr(0, length));
      if (byte == bytes_.end()) return std::string(token);
      out += byte->second;
      rest.remove_prefix(length);
    }
    return out;
  }

  BpeRules::Alphabet alphabet_;
  std::unordered_map<std::string, char, TextHash, std::equal_to<>> bytes_;
};

std::optional<uint8_t> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return error == std::errc{} && end == token.data() + 5 ? std::optional(byte) : std::nullopt;
}

void check_id(int64_t id, std::string_view token) {
  require(id >= 0 && id < most_tokens, "[tokenizer] the token '", token, "' has the id ", id,
          ", expected 0 to ", most_tokens - 1);
}

void set_token(int32_t id, BpeToken token, std::vector<BpeToken>& tokens) {
  if (static_cast<size_t>(id) >= tokens.size()) tokens.resize(static_cast<size_t>(id) + 1);
  tokens[static_cast<size_t>(id)] = std::move(token);
}

MergeText split_merge(std::string_view line) {
  const size_t blank = line.find(' ');
  require(blank != std::string_view::npos && blank > 0 && blank + 1 < line.size() &&
              line.find(' ', blank + 1) == std::string_view::npos,
          "[tokenizer] the merge '", line, "' is not two tokens with one space between");
  return {std::string(line.substr(0, blank)), std::string(line.substr(blank + 1))};
}

int32_t id_of(std::string_view token, const TextIds& ids, const MergeText& merge) {
  const auto found = ids.find(token);
  require(found != ids.end(), "[tokenizer] the merge '", merge.first, ' ', merge.second,
          "' needs the token '", token, "', which the vocabulary does not have");
  return found->second;
}

}  // namespace

std::vector<MergeText> merges_from_json(const json& merges) {
  std::vector<MergeText> pairs;
  pairs.reserve(merges.size());
  for (const json& merge : merges) {
    if (merge.is_string()) {
      pairs.push_back(split_merge(merge.get_ref<const std::string&>()));
    } else {
      require(merge.is_array() && merge.size() == 2, "[tokenizer] the merge ", merge.dump(),
              " is not a pair");
      pairs.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    }
  }
  return pairs;
}

std::vector<MergeText> merges_from_text(std::string_view text) {
  std::vector<MergeText> pairs;
  bool first = true;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !(first && line.starts_with("#version"))) pairs.push_back(split_merge(line));
    first = false;
  }
  return pairs;
}

void fill_vocabulary(const json& vocabulary, const std::vector<MergeText>& merges,
                     BpeDescription& description) {
  require(vocabulary.is_object() && !vocabulary.empty(),
          "[tokenizer] the vocabulary is not a table of token ids");
  BpeRules& rules = description.rules;
  const bool bytes = rules.alphabet == BpeRules::Alphabet::bytes;
  const TokenBytes to_bytes(rules.alphabet);
  TextIds written;
  written.reserve(vocabulary.size());
  description.tokens.reserve(vocabulary.size());
  for (const auto& [token, value] : vocabulary.items()) {
    check_id(value.get<int64_t>(), token);
    const auto id = value.get<int32_t>();
    const bool taken = static_cast<size_t>(id) < description.tokens.size() &&
                       description.tokens[static_cast<size_t>(id)].kind != BpeToken::Kind::missing;
    require(!taken, "[tokenizer] two tokens have the id ", id, "; one is '", token, '\'');
    const std::optional<uint8_t> fallback = bytes ? std::nullopt : fallback_byte(token);
    std::string text = fallback ? std::string{static_cast<char>(*fallback)} : to_bytes(token);
    if (fallback) rules.byte_tokens[*fallback] = id;
    if (bytes && text.size() == 1) rules.byte_tokens[static_cast<uint8_t>(text[0])] = id;
    if (bytes && rules.whole_words) rules.text_tokens.emplace(text, id);
    if (!bytes) rules.text_tokens.emplace(token, id);
    written.emplace(token, id);
    set_token(id, {BpeToken::Kind::text, std::move(text)}, description.tokens);
  }
  rules.merges.reserve(merges.size());
  for (const MergeText& merge : merges) {
    rules.merges.push_back({id_of(merge.first, written, merge), id_of(merge.second, written, merge),
                            id_of(merge.first + merge.second, written, merge)});
  }
}

void fill_added_tokens(const std::vector<AddedToken>& added, BpeDescription& description) {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalised;
  for (AddedToken token : added) {
    check_id(token.id, token.text);
    set_token(token.id, {token.special ? BpeToken::Kind::special : BpeToken::Kind::text, token.text},
              description.tokens);
    if (token.normalized) token.text = description.normalizer(token.text);
    (token.normalized ? normalised : raw).push_back(std::move(token));
  }
  description.raw_tokens = AddedTokenFinder(std::move(raw));
  description.normalized_tokens = AddedTokenFinder(std::move(normalised));
}

}  // namespace kvviz
