// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/gguf_tokenizer.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "kvviz/core/error.hpp"
#include "kvviz/core/sha256.hpp"
#include "kvviz/tokenizer/pipeline_tokenizer.hpp"
#include "kvviz/tokenizer/utf8.hpp"
#include "kvviz/tokenizer/vocabulary.hpp"
#include "kvviz/tokenizer/word_rules.hpp"

namespace kvviz {
namespace {

using nlohmann::json;

// "tokenizer.ggml.token_type"
enum class TokenType : int64_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

constexpr const char* tokens_key = "tokenizer.ggml.tokens";
constexpr const char* types_key = "tokenizer.ggml.token_type";
constexpr const char* scores_key = "tokenizer.ggml.scores";
constexpr const char* merges_key = "tokenizer.ggml.merges";

struct Vocabulary {
  std::vector<std::string> texts;
  std::vector<TokenType> types;
};

Vocabulary read_vocabulary(const GgufFile& file) {
  Vocabulary vocabulary{.texts = file.texts(tokens_key)};
  const size_t count = vocabulary.texts.size();
  require(count > 0 && count <= static_cast<size_t>(most_tokens), "[tokenizer] ", tokens_key, " has ", count,
          " tokens, expected 1 to ", most_tokens);
  for (const std::string& text : vocabulary.texts) require_utf8(text);
  vocabulary.types.assign(count, TokenType::normal);
  if (!file.has(types_key)) return vocabulary;
  const std::vector<int64_t> types = file.integers(types_key);
  require(types.size() == count, "[tokenizer] ", types_key, " has ", types.size(), " elements for ", count,
          " tokens");
  for (size_t i = 0; i < count; ++i) {
    require(types[i] >= 0 && types[i] <= 6, "[tokenizer] token ", i, " has the type ", types[i],
            ", expected 1 to 6");
    vocabulary.types[i] = types[i] == 0 ? TokenType::normal : TokenType{types[i]};
  }
  return vocabulary;
}

std::optional<int32_t> end_id(const GgufFile& file, const char* key, const Vocabulary& vocabulary) {
  if (!file.has(key)) return std::nullopt;
  const int64_t id = file.integer(key);
  require(id >= 0 && static_cast<size_t>(id) < vocabulary.texts.size(), "[tokenizer] ", key, " is ", id,
          ", which the vocabulary of ", vocabulary.texts.size(), " tokens does not have");
  return static_cast<int32_t>(id);
}

// A token that is special or found in text, with the text that is looked for.
AddedToken marked_token(size_t id, TokenType type, std::string text) {
  return {
      .id = static_cast<int32_t>(id), .text = std::move(text), .special = type != TokenType::user_defined};
}

bool is_marked(TokenType type) {
  return type == TokenType::control || type == TokenType::user_defined || type == TokenType::unknown;
}

// Every way to make a token of two others, ranked by the score of the result.
std::vector<BpeMerge> merges_by_score(const TextIds& tokens, const std::vector<float>& scores) {
  std::map<float, int32_t, std::greater<>> ranks;
  for (const auto& [text, id] : tokens) ranks.emplace(scores[static_cast<size_t>(id)], 0);
  int32_t next = 0;
  for (auto& [score, rank] : ranks) rank = next++;
  std::vector<BpeMerge> merges;
  for (const auto& [text, id] : tokens) {
    const std::string_view whole = text;
    for (size_t cut = first_unit(whole).length; cut < whole.size();
         cut += first_unit(whole.substr(cut)).length) {
      const auto left = tokens.find(whole.substr(0, cut));
      if (left == tokens.end()) continue;
      const auto right = tokens.find(whole.substr(cut));
      if (right == tokens.end()) continue;
      merges.push_back({left->second, right->second, id, ranks.at(scores[static_cast<size_t>(id)])});
    }
  }
  return merges;
}

void set_normalizer(bool adds_space, TokenizerParts& parts) {
  json steps = json::array();
  if (adds_space) steps.push_back({{"type", "Prepend"}, {"prepend", metaspace}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", metaspace}});
  parts.normalizer = Normalizer(json{{"type", "Sequence"}, {"normalizers", steps}});
  parts.strips_leading_space = adds_space;
}

void fill_llama(const GgufFile& file, const Vocabulary& vocabulary, TokenizerParts& parts) {
  require(!file.boolean("tokenizer.ggml.remove_extra_whitespaces", false),
          "[tokenizer] tokenizer.ggml.remove_extra_whitespaces is not supported");
  const std::vector<float> scores = file.numbers(scores_key);
  require(scores.size() == vocabulary.texts.size(), "[tokenizer] ", scores_key, " has ", scores.size(),
          " elements for ", vocabulary.texts.size(), " tokens");
  require(std::none_of(scores.begin(), scores.end(), [](float s) { return std::isnan(s); }), "[tokenizer] ",
          scores_key, " has a score that is not a number");
  set_normalizer(file.boolean("tokenizer.ggml.add_space_prefix", true), parts);
  BpeRules rules{.alphabet = BpeRules::Alphabet::characters};
  TextIds mergeable;
  std::vector<AddedToken> marked;
  for (size_t id = 0; id < vocabulary.texts.size(); ++id) {
    const std::string& text = vocabulary.texts[id];
    const TokenType type = vocabulary.types[id];
    Token& token = parts.tokens[id];
    if (is_marked(type)) {
      token = {type == TokenType::user_defined ? Token::Kind::text : Token::Kind::special,
               replaced(text, metaspace, " ")};
      marked.push_back(marked_token(id, type, replaced(text, " ", metaspace)));
    } else if (type == TokenType::byte) {
      token = metaspace_token(text);
      require(token.kind == Token::Kind::byte, "[tokenizer] the byte token ", id, " is written '", text,
              "', expected like <0x0A>");
      rules.byte_tokens[static_cast<uint8_t>(token.bytes[0])] = static_cast<int32_t>(id);
    } else if (type == TokenType::normal) {
      token = {Token::Kind::text, replaced(text, metaspace, " ")};
      mergeable.emplace(text, static_cast<int32_t>(id));
      const bool character = !text.empty() && first_unit(text).length == text.size();
      if (character) rules.text_tokens.emplace(text, static_cast<int32_t>(id));
    }
  }
  parts.normalized_tokens = AddedTokenFinder(std::move(marked));
  rules.merges = merges_by_score(mergeable, scores);
  rules.unknown = end_id(file, "tokenizer.ggml.unknown_token_id", vocabulary);
  rules.fuse_unknown = true;
  parts.rules = std::move(rules);
}

WordRules named_rules(const GgufFile& file) {
  require(
      file.has("tokenizer.ggml.pre"),
      "[tokenizer] tokenizer.ggml.pre is missing: the file does not say how text is cut into words; known: ",
      word_rule_names(),
      "; convert the model again, or open a folder that has the file and its tokenizer.json");
  const std::string name = file.text("tokenizer.ggml.pre");
  std::optional<WordRules> rules = word_rules(name);
  require(rules.has_value(), "[tokenizer] the pre-tokeniser '", name,
          "' (tokenizer.ggml.pre) is not supported; ", "known: ", word_rule_names(),
          "; or open a folder that has the file and the model's tokenizer.json");
  return *std::move(rules);
}

void fill_gpt2(const GgufFile& file, const Vocabulary& vocabulary, TokenizerParts& parts) {
  const WordRules words = named_rules(file);
  parts.normalizer = Normalizer(words.normalizer);
  parts.pre_tokenizer = PreTokenizer(words.pre_tokenizer);
  std::vector<VocabularyEntry> entries;
  std::vector<AddedToken> marked;
  for (size_t id = 0; id < vocabulary.texts.size(); ++id) {
    const TokenType type = vocabulary.types[id];
    if (is_marked(type)) {
      marked.push_back(marked_token(id, type, vocabulary.texts[id]));
    } else if (type != TokenType::unused) {
      entries.push_back({vocabulary.texts[id], static_cast<int32_t>(id)});
    }
  }
  std::vector<MergeText> merges;
  for (const std::string& merge : file.texts(merges_key)) merges.push_back(split_merge(merge));
  BpeRules rules{.whole_words = words.whole_words};
  fill_bpe(entries, merges, rules, parts);
  parts.rules = std::move(rules);
  fill_added_tokens(marked, parts);
}

void set_ends(const GgufFile& file, const Vocabulary& vocabulary, bool adds_bos, TokenizerParts& parts) {
  constexpr const char* add_bos = "tokenizer.ggml.add_bos_token";
  parts.ends.bos = end_id(file, "tokenizer.ggml.bos_token_id", vocabulary);
  parts.ends.eos = end_id(file, "tokenizer.ggml.eos_token_id", vocabulary);
  const bool wanted = file.boolean(add_bos, adds_bos);
  require(!wanted || parts.ends.bos || !file.has(add_bos),
          "[tokenizer] tokenizer.ggml.add_bos_token without tokenizer.ggml.bos_token_id");
  parts.ends.adds_bos = wanted && parts.ends.bos.has_value();
  if (parts.ends.eos && file.boolean("tokenizer.ggml.add_eos_token", false)) {
    parts.left_out = {vocabulary.texts[static_cast<size_t>(*parts.ends.eos)]};
  }
  for (const std::optional<int32_t> id : {parts.ends.bos, parts.ends.eos}) {
    if (!id) continue;
    Token& token = parts.tokens[static_cast<size_t>(*id)];
    if (token.kind == Token::Kind::text) token.kind = Token::Kind::special;
  }
}

void append(std::string_view text, std::string& all) {
  all += cat(text.size(), ':', text);
}

// Every key of the vocabulary, with lengths, so that no two vocabularies read the same.
std::string hash_of(const GgufFile& file) {
  std::string all;
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with("tokenizer.") || key.starts_with("tokenizer.chat_template")) continue;
    append(key, all);
    std::visit(
        [&]<class T>(const T& held) {
          if constexpr (std::is_same_v<T, std::string_view>) {
            append(held, all);
          } else if constexpr (std::is_same_v<T, GgufArray>) {
            append(cat(held.count), all);
            append({reinterpret_cast<const char*>(held.numbers.data()), held.numbers.size()}, all);
            for (const std::string_view text : held.texts) append(text, all);
          } else {
            append(cat(held), all);
          }
        },
        value.value);
  }
  return sha256(all);
}

TokenizerParts parts_of(const GgufFile& file) {
  const std::string model = file.text("tokenizer.ggml.model");
  require(model == "llama" || model == "gpt2", "[tokenizer] the vocabulary '", model,
          "' (tokenizer.ggml.model) is not supported; supported: llama, gpt2");
  const Vocabulary vocabulary = read_vocabulary(file);
  TokenizerParts parts;
  parts.tokens.resize(vocabulary.texts.size());
  if (model == "llama") {
    fill_llama(file, vocabulary, parts);
    set_ends(file, vocabulary, true, parts);
  } else {
    fill_gpt2(file, vocabulary, parts);
    set_ends(file, vocabulary, named_rules(file).adds_bos, parts);
  }
  parts.hash = hash_of(file);
  return parts;
}

}  // namespace

bool has_vocabulary(const GgufFile& file) {
  return file.text("tokenizer.ggml.model", "none") != "none";
}

std::unique_ptr<Tokenizer> open_gguf_tokenizer(const GgufFile& file) {
  try {
    return std::make_unique<PipelineTokenizer>(parts_of(file));
  } catch (const DataError& error) {
    const std::string message = error.what();
    throw DataError(message.find(file.name()) == std::string::npos ? cat(message, " (", file.name(), ')')
                                                                   : message);
  }
}

}  // namespace kvviz
