// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <memory>
#include <string_view>

#include "kvviz/tokenizer/tokenizer.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"

namespace kvviz {

/// tokenizer.model through SentencePiece. A BOS is added unless the configuration says otherwise, as Llama
/// does. Tokens that the configuration adds are named and decoded, never found in text. Throws DataError (not
/// a SentencePiece model, the library is missing).
std::unique_ptr<Tokenizer> open_sentencepiece(const std::filesystem::path& file,
                                              const TokenizerConfig& config);

/// The same from the model's bytes. The hash is that of the bytes.
std::unique_ptr<Tokenizer> parse_sentencepiece(std::string_view bytes, const TokenizerConfig& config);

}  // namespace kvviz
