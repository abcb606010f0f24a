// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/pipeline_tokenizer.hpp"

#include <unordered_map>
#include <utility>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

/// Encodes words, remembering where in the output a word was encoded before.
template <class Model>
class WordEncoder {
 public:
  WordEncoder(const Model& model, std::vector<int32_t>& ids) : model_(model), ids_(ids) {}

  void operator()(std::string_view word) {
    constexpr size_t longest = 48;
    constexpr size_t most = 1 << 17;
    const auto known = seen_.find(word);
    if (known != seen_.end()) {
      for (size_t i = 0; i < known->second.count; ++i) ids_.push_back(ids_[known->second.begin + i]);
      return;
    }
    const size_t begin = ids_.size();
    model_.encode(word, workspace_, ids_);
    if (word.size() <= longest && seen_.size() < most) seen_.emplace(word, Place{begin, ids_.size() - begin});
  }

 private:
  struct Place {
    size_t begin;
    size_t count;
  };
  const Model& model_;
  std::vector<int32_t>& ids_;
  typename Model::Workspace workspace_;
  std::unordered_map<std::string, Place, TextHash, std::equal_to<>> seen_;
};

std::variant<Bpe, Unigram> model_of(std::variant<BpeRules, UnigramRules>& rules) {
  if (auto* bpe = std::get_if<BpeRules>(&rules)) return Bpe(std::move(*bpe));
  return Unigram(std::get<UnigramRules>(std::move(rules)));
}

/// Collects decoded text. Bytes that stand alone are text once they form characters.
class Decoded {
 public:
  void add(const Token& token) {
    if (token.kind == Token::Kind::byte) {
      bytes_ += token.bytes;
    } else if (token.kind == Token::Kind::text) {
      flush();
      text_ += token.bytes;
    }
  }

  std::string finish() {
    flush();
    return std::move(text_);
  }

 private:
  void flush() {
    const bool characters = bytes_.empty() || to_utf8(bytes_, BadBytes::hex) == bytes_;
    for (size_t i = 0; !characters && i < bytes_.size(); ++i) text_ += "\xEF\xBF\xBD";
    if (characters) text_ += bytes_;
    bytes_.clear();
  }

  std::string text_;
  std::string bytes_;
};

}  // namespace

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts)
    : parts_(std::move(parts)), model_(model_of(parts_.rules)) {
  parts_.rules = {};
}

void PipelineTokenizer::for_each_word(std::string_view text, std::vector<int32_t>& ids,
                                      const PreTokenizer::Sink& word) const {
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
          parts_.pre_tokenizer({part.text, first}, word);
        }
        first = false;
      }
    }
    first = false;
  }
}

std::vector<int32_t> PipelineTokenizer::encode(std::string_view text) const {
  require_utf8(text);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  std::visit(
      [&](const auto& model) {
        WordEncoder encode_word(model, ids);
        for_each_word(text, ids, [&](Stretch word) { encode_word(word.text); });
      },
      model_);
  return ids;
}

std::string PipelineTokenizer::decode(const std::vector<int32_t>& ids) const {
  Decoded decoded;
  for (const int32_t id : ids) {
    require(id >= 0, "[tokenizer] token id ", id, " is negative");
    if (id < vocabulary()) decoded.add(parts_.tokens[static_cast<size_t>(id)]);
  }
  const std::string text = decoded.finish();
  const bool strip = parts_.strips_leading_space && text.starts_with(' ');
  return to_utf8(std::string_view(text).substr(strip ? 1 : 0), BadBytes::replacement);
}

std::string PipelineTokenizer::piece(int32_t id) const {
  if (id < 0 || id >= vocabulary()) return cat("<id ", id, '>');
  const Token& token = parts_.tokens[static_cast<size_t>(id)];
  return token.kind == Token::Kind::missing ? cat("<id ", id, '>') : to_utf8(token.bytes, BadBytes::hex);
}

}  // namespace kvviz
