// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <memory>

#include "kvviz/tokenizer/tokenizer.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"

namespace kvviz {

// In both, where nothing names a BOS or EOS and the vocabulary has GPT-2's "<|endoftext|>", that is the one.

/// tokenizer.json: byte-level BPE, or BPE over characters with byte fallback. Throws DataError (another kind,
/// a part that is not supported, a corrupt file).
std::unique_ptr<Tokenizer> open_tokenizer_json(const std::filesystem::path& file,
                                               const TokenizerConfig& config);

/// vocab.json + merges.txt: byte-level BPE with the word pattern of GPT-2, or of Qwen2 (and NFC) when the
/// configuration names Qwen2. Throws DataError (another tokenizer class, a corrupt file).
std::unique_ptr<Tokenizer> open_vocab_and_merges(const std::filesystem::path& vocab,
                                                 const std::filesystem::path& merges,
                                                 const TokenizerConfig& config);

}  // namespace kvviz
