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
  /// A "normalizer" of tokenizer.json: null, Sequence, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip,
  /// Prepend, Replace of a string or a regular expression. Throws DataError naming another kind.
  explicit Normalizer(const nlohmann::json& description);

  /// `text` must be valid UTF-8.
  std::string operator()(std::string_view text) const;

  /// Whether a step drops white space at the start of the text.
  bool strips_start() const { return strips_start_; }

 private:
  void add(const nlohmann::json& description);

  std::vector<Step> steps_;
  bool strips_start_ = false;
};

}  // namespace kvviz
