// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kvviz/tokenizer/added_tokens.hpp"
#include "kvviz/tokenizer/bpe.hpp"
#include "kvviz/tokenizer/normalizer.hpp"
#include "kvviz/tokenizer/pre_tokenizer.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"
#include "kvviz/tokenizer/unigram.hpp"

namespace kvviz {

/// What an id stands for.
struct Token {
  enum class Kind {
    missing,
    text,
    byte,     ///< a part of a character: bytes that form none together become U+FFFD each
    special,  ///< its name; no part of decoded text
  };
  Kind kind = Kind::missing;
  std::string bytes;
};

/// Everything that the files of a tokenizer say.
struct TokenizerParts {
  std::vector<Token> tokens;  ///< by id
  std::variant<BpeRules, UnigramRules> rules;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  AddedTokenFinder raw_tokens;         ///< looked for in the text as it is
  AddedTokenFinder normalized_tokens;  ///< looked for in the normalised text
  bool strips_leading_space = false;   ///< decoding drops the space that the normaliser put first
  SequenceEnds ends;
  std::vector<std::string> left_out;  ///< special tokens that the file adds besides a BOS
  std::string hash;
};

/// The steps of the package tokenizers: added tokens, normaliser, pre-tokeniser, then byte-pair encoding or a
/// unigram model on each word.
class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerParts parts);

  std::vector<int32_t> encode(std::string_view text) const override;
  std::string decode(const std::vector<int32_t>& ids) const override;
  std::string piece(int32_t id) const override;
  int32_t vocabulary() const override { return static_cast<int32_t>(parts_.tokens.size()); }
  std::optional<int32_t> bos() const override { return parts_.ends.bos; }
  std::optional<int32_t> eos() const override { return parts_.ends.eos; }
  bool adds_bos() const override { return parts_.ends.adds_bos; }
  std::vector<std::string> left_out() const override { return parts_.left_out; }
  const std::string& hash() const override { return parts_.hash; }

 private:
  void for_each_word(std::string_view text, std::vector<int32_t>& ids, const PreTokenizer::Sink& word) const;

  TokenizerParts parts_;
  std::variant<Bpe, Unigram> model_;
};

}  // namespace kvviz
