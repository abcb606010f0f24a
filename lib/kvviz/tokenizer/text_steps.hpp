// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace kvviz {

/// Changes the text before it is split.
class Normalizer {
 public:
  using Step = std::function<std::string(std::string)>;

  Normalizer() = default;
  /// A "normalizer" of tokenizer.json: null, Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace of a string.
  /// Throws DataError naming another kind.
  explicit Normalizer(const nlohmann::json& description);

  std::string operator()(std::string_view text) const;

 private:
  void add(const nlohmann::json& description);

  std::vector<Step> steps_;
};

/// A stretch of text on its way to the words that byte-pair encoding merges in.
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
  /// A "pre_tokenizer" of tokenizer.json: null, Sequence, ByteLevel, Split, Digits, Metaspace.
  /// Throws DataError naming another kind, or a step after ByteLevel.
  explicit PreTokenizer(const nlohmann::json& description);

  /// Calls `word` for each word in order; the view lives as long as the call.
  void operator()(Stretch stretch, const Sink& word) const { run(0, stretch, word); }

  /// Whether a ByteLevel step makes the alphabet that of bytes.
  bool byte_level() const { return byte_level_; }

 private:
  void add(const nlohmann::json& description);
  void run(size_t step, Stretch stretch, const Sink& word) const;

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace kvviz
