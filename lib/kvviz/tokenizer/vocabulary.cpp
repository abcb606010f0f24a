// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/vocabulary.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/byte_alphabet.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

void set_token(int64_t id, Token token, std::vector<Token>& tokens) {
  const auto place = static_cast<size_t>(id);
  if (place >= tokens.size()) tokens.resize(place + 1);
  tokens[place] = std::move(token);
}

// A token with a character outside the byte alphabet cannot come out of a merge; it stands for itself.
Token byte_level_token(const std::string& written) {
  return {Token::Kind::text, bytes_of(written).value_or(written)};
}

int32_t id_of(std::string_view token, const TextIds& ids, const MergeText& merge) {
  const auto found = ids.find(token);
  require(found != ids.end(), "[tokenizer] the merge '", merge.first, ' ', merge.second,
          "' needs the token '", token, "', which the vocabulary does not have");
  return found->second;
}

}  // namespace

std::vector<VocabularyEntry> vocabulary_entries(const nlohmann::json& vocabulary) {
  require(vocabulary.is_object() && !vocabulary.empty(),
          "[tokenizer] the vocabulary is not a table of token ids");
  std::vector<VocabularyEntry> entries;
  entries.reserve(vocabulary.size());
  for (const auto& [text, id] : vocabulary.items()) entries.push_back({text, token_id(id, text)});
  return entries;
}

std::optional<int32_t> find_id(const TextIds& ids, const std::string& token) {
  const auto found = ids.find(token);
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

MergeText split_merge(std::string_view merge) {
  const size_t blank = merge.find(' ');
  require(blank != std::string_view::npos && blank > 0 && blank + 1 < merge.size() &&
              merge.find(' ', blank + 1) == std::string_view::npos,
          "[tokenizer] the merge '", merge, "' is not two tokens with one space between");
  return {std::string(merge.substr(0, blank)), std::string(merge.substr(blank + 1))};
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

std::optional<uint8_t> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return error == std::errc{} && end == token.data() + 5 ? std::optional(byte) : std::nullopt;
}

Token metaspace_token(std::string_view written) {
  if (const std::optional<uint8_t> byte = fallback_byte(written)) {
    return {Token::Kind::byte, std::string{static_cast<char>(*byte)}};
  }
  return {Token::Kind::text, replaced(written, metaspace, " ")};
}

TextIds fill_bpe(const std::vector<VocabularyEntry>& vocabulary, const std::vector<MergeText>& merges,
                 BpeRules& rules, TokenizerParts& parts) {
  const bool bytes = rules.alphabet == BpeRules::Alphabet::bytes;
  TextIds written;
  written.reserve(vocabulary.size());
  parts.tokens.reserve(vocabulary.size());
  for (const auto& [text, id] : vocabulary) {
    check_token_id(id, text);
    const bool taken = static_cast<size_t>(id) < parts.tokens.size() &&
                       parts.tokens[static_cast<size_t>(id)].kind != Token::Kind::missing;
    require(!taken, "[tokenizer] two tokens have the id ", id, "; one is '", text, '\'');
    Token token = bytes ? byte_level_token(text) : metaspace_token(text);
    if (token.bytes.size() == 1 && (bytes || token.kind == Token::Kind::byte)) {
      rules.byte_tokens[static_cast<uint8_t>(token.bytes[0])] = id;
    }
    const bool character = !bytes && !text.empty() && first_unit(text).length == text.size();
    if (character || rules.whole_words) rules.text_tokens.emplace(bytes ? token.bytes : text, id);
    written.emplace(text, id);
    set_token(id, std::move(token), parts.tokens);
  }
  rules.merges.reserve(merges.size());
  for (const MergeText& merge : merges) {
    rules.merges.push_back({id_of(merge.first, written, merge), id_of(merge.second, written, merge),
                            id_of(merge.first + merge.second, written, merge),
                            static_cast<int32_t>(rules.merges.size())});
  }
  return written;
}

void fill_added_tokens(const std::vector<AddedToken>& added, TokenizerParts& parts) {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalised;
  for (AddedToken token : added) {
    check_token_id(token.id, token.text);
    set_token(token.id,
              {token.special ? Token::Kind::special : Token::Kind::text,
               parts.pre_tokenizer.byte_level() ? token.text : replaced(token.text, metaspace, " ")},
              parts.tokens);
    if (token.normalized) token.text = parts.normalizer(token.text);
    (token.normalized ? normalised : raw).push_back(std::move(token));
  }
  parts.raw_tokens = AddedTokenFinder(std::move(raw));
  parts.normalized_tokens = AddedTokenFinder(std::move(normalised));
}

void name_ends(const TextIds& ids, TokenizerParts& parts) {
  for (std::optional<int32_t>* end : {&parts.ends.bos, &parts.ends.eos}) {
    if (!*end) *end = find_id(ids, "<|endoftext|>");
    if (!*end || **end < 0 || static_cast<size_t>(**end) >= parts.tokens.size()) continue;
    Token& token = parts.tokens[static_cast<size_t>(**end)];
    if (token.kind == Token::Kind::text) token.kind = Token::Kind::special;
  }
}

}  // namespace kvviz
