// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/tokenizer/bpe.hpp"
#include "kvviz/tokenizer/regex.hpp"
#include "kvviz/tokenizer/text_steps.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"

namespace kvviz {

/// What an id stands for.
struct BpeToken {
  enum class Kind { missing, text, special };
  Kind kind = Kind::missing;
  std::string bytes;  ///< of the text, or the name of a special token
};

/// Finds added tokens in text, the leftmost first and of those the longest. Special ones take part in the
/// search, so that they shadow what they overlap, but stay text.
class AddedTokenFinder {
 public:
  struct Part {
    std::string_view text;
    std::optional<int32_t> id;  ///< of an added token; none: ordinary text
  };

  AddedTokenFinder() = default;
  /// Throws DataError for a token that is not special and not plain.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  std::vector<Part> split(std::string_view text) const;

 private:
  std::vector<AddedToken> tokens_;
  std::optional<Regex> regex_;
};

/// Everything that a byte-pair encoding tokenizer's files say.
struct BpeDescription {
  std::vector<BpeToken> tokens;  ///< by id
  BpeRules rules;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  AddedTokenFinder raw_tokens;         ///< looked for in the text as it is
  AddedTokenFinder normalized_tokens;  ///< looked for in the normalised text
  bool strips_leading_space = false;   ///< decoding drops the space that the normaliser put first
  SequenceEnds ends;
  std::string hash;
};

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeDescription description);

  std::vector<int32_t> encode(std::string_view text) const override;
  std::string decode(const std::vector<int32_t>& ids) const override;
  std::string piece(int32_t id) const override;
  int32_t vocabulary() const override { return static_cast<int32_t>(parts_.tokens.size()); }
  std::optional<int32_t> bos() const override { return parts_.ends.bos; }
  std::optional<int32_t> eos() const override { return parts_.ends.eos; }
  bool adds_bos() const override { return parts_.ends.adds_bos; }
  const std::string& hash() const override { return parts_.hash; }

 private:
  BpeDescription parts_;
  Bpe bpe_;
};

}  // namespace kvviz
