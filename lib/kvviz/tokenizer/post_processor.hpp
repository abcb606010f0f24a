// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace kvviz {

/// The special tokens that a "post_processor" of tokenizer.json puts around one text.
struct Framing {
  struct Mark {
    std::string name;
    int32_t id;
  };
  std::optional<Mark> before;
  std::vector<std::string> after;  ///< names
};

/// Reads null, ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing or a Sequence of them. Throws
/// DataError: another kind, a template with more than one token before the text or without the text, two
/// steps that both add tokens.
Framing read_framing(const nlohmann::json& processor);

}  // namespace kvviz
