// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <vector>

#include "kvviz/engine/text_input.hpp"

namespace kvviz {

/// Texts that are read when they are asked for, as often as they are: what is held of them does not grow with
/// their length.
struct TextSource {
  int64_t size = 0;
  std::vector<std::filesystem::path> files;  ///< that they are read from
  std::function<std::string(int64_t)> name;  ///< of a text that cannot be read
  std::function<TextInput(int64_t)> read;    ///< may be called by several threads; throws as read_text()
};

/// Every text that the options name, in order: one text; prompts, one a line of a file (.jsonl: JSON with a
/// string "text"; empty lines are left out) or one a file of a folder (*.txt, in the order of their names); a
/// range of articles, or all sample texts; for a probe, `probe_count` sequences of random tokens, or of one
/// random token repeated. The source refers to its arguments. Throws UsageError, and DataError for a source
/// that is missing or holds no text.
TextSource open_texts(const TextsOptions& options, const Tokenizer& tokenizer, const ModelConfig& model,
                      const CallOptions& call);

/// Whether the options name the one text of a run themselves: no range, file or probe of several.
bool names_one_text(const TextsOptions& options);

}  // namespace kvviz
