// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

namespace kvviz {

/// A stretch of text on its way to the words that the vocabulary's model encodes.
struct Stretch {
  std::string_view text;
  bool first;  ///< it starts the text
};

/// Cuts text into words.
class PreTokenizer {
 public:
  using Sink = std::function<void(Stretch)>;
  using Step = std::function<void(Stretch, const Sink&)>;

  PreTokenizer() = default;
  /// A "pre_tokenizer" of tokenizer.json: null, Sequence, ByteLevel, Split, Digits, Punctuation, Whitespace,
  /// WhitespaceSplit, Metaspace. What follows ByteLevel sees its characters instead of the text's, as in the
  /// package tokenizers (Falcon: Digits after ByteLevel finds digits in the bytes B2, B3, B9, BC, BD, BE).
  /// Throws DataError naming another kind, and ByteLevel or Metaspace after ByteLevel.
  explicit PreTokenizer(const nlohmann::json& description);

  /// Calls `word` for each word in order; the view lives as long as the call.
  void operator()(Stretch stretch, const Sink& word) const { run(0, stretch, word); }

  /// Whether a ByteLevel step makes the alphabet that of bytes.
  bool byte_level() const { return byte_level_; }
  /// Whether what is done depends on Stretch::first.
  bool tells_first() const { return tells_first_; }

 private:
  void add(const nlohmann::json& description);
  void add_metaspace(const nlohmann::json& description);
  void run(size_t step, Stretch stretch, const Sink& word) const;

  std::vector<Step> steps_;
  bool byte_level_ = false;
  bool in_byte_characters_ = false;  ///< the last steps see byte_characters()
  bool tells_first_ = false;
};

}  // namespace kvviz
