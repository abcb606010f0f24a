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
#include "kvviz/tokenizer/tokenizer.hpp"

namespace kvviz {

/// The tokens that a command works on. Text is tokenised once; ids are never turned into text to be read
/// again.
struct TextInput {
  TokenInfo tokens;
  bool bos = false;         ///< whether a BOS was put first
  std::string description;  ///< "sample text 0, Lighthouse", "prompt", "file x.txt"
  std::string sha256;       ///< of the token ids as little-endian int32
};

/// SHA-256 of token ids as little-endian int32.
std::string hash_of(std::span<const int32_t> ids);

/// Reads the text that the options name and makes it tokens. Throws UsageError for
/// --bos on without a BOS token, DataError for a text that is missing, empty, not UTF-8, too short for
/// --seq-len or longer than the context.
TextInput read_text(const TextOptions& options, const Tokenizer& tokenizer, const ModelConfig& model,
                    const std::filesystem::path& data);

/// Every text that the options name, in order: one prompt, a file of prompts, a range of articles, or all
/// sample texts; for a probe, `probe_count` sequences of random tokens, or of one random token repeated.
/// Throws as read_text(), and DataError for a prompt file without a prompt.
std::vector<TextInput> read_texts(const TextsOptions& options, const Tokenizer& tokenizer,
                                  const ModelConfig& model, const CallOptions& call);

/// Tokens of the longest text.
int64_t longest(std::span<const TextInput> texts);

/// The effective text options, for provenance.
void add_options(nlohmann::ordered_json& effective, const TextOptions& options);
void add_options(nlohmann::ordered_json& effective, const TextsOptions& options);

}  // namespace kvviz
