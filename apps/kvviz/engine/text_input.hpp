// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/model/config.hpp"
#include "kvviz/options.hpp"
#include "kvviz/text/wikitext.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"

namespace kvviz {

/// The tokens that a command works on. Text is tokenised once; ids are never turned into text to be read
/// again.
struct TextInput {
  TokenInfo tokens;
  bool bos = false;           ///< whether a BOS was put first
  std::string description;    ///< "sample text 0, Lighthouse", "prompt", "file x.txt"
  std::string sha256;         ///< of the token ids as little-endian int32
  int64_t more_articles = 0;  ///< that follow its own and have part in it, to reach --seq-len
};

/// SHA-256 of token ids as little-endian int32.
std::string hash_of(std::span<const int32_t> ids);

/// Reads the text that the options name and makes it tokens. Throws UsageError for
/// --bos on without a BOS token, DataError for a text that is missing, empty, not UTF-8, too short for
/// --seq-len or longer than the context.
TextInput read_text(const TextOptions& options, const Tokenizer& tokenizer, const ModelConfig& model,
                    const std::filesystem::path& data);

/// Tokens of a text before a BOS is put first and before it is cut.
struct TextIds {
  std::vector<int32_t> ids;
  std::string description;
  bool article = false;  ///< cut where --seq-len does not say how long it is to be
  int64_t more_articles = 0;
};

/// The text as the options want it. Throws as read_text().
TextInput to_input(TextIds source, const TextOptions& options, const Tokenizer& tokenizer,
                   const ModelConfig& model);

/// WikiText, or the sample texts.
text::TextCollection open_articles(const TextOptions& options, const std::filesystem::path& data);

/// The article `wikitext_index` of a collection. Throws as read_text().
TextInput read_article(const text::TextCollection& articles, const TextOptions& options,
                       const Tokenizer& tokenizer, const ModelConfig& model);

/// Throws UsageError where --seq-len is more than the model's context.
void check_length(const TextOptions& options, const ModelConfig& model);

/// The effective text options, for provenance.
void add_options(nlohmann::ordered_json& effective, const TextOptions& options);
void add_options(nlohmann::ordered_json& effective, const TextsOptions& options);

}  // namespace kvviz
