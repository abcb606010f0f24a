// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <memory>

#include "kvviz/tokenizer/tokenizer.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"

namespace kvviz {

/// vocab.json + merges.txt: byte-level BPE with the word pattern of GPT-2 (which OPT, GPT-J and Phi-2 share),
/// or of Qwen2 (and NFC) when the configuration names Qwen2. Where nothing names a BOS or EOS and the
/// vocabulary has GPT-2's "<|endoftext|>", that is the one. Throws DataError (another tokenizer class, a
/// corrupt file).
std::unique_ptr<Tokenizer> open_vocab_and_merges(const std::filesystem::path& vocab,
                                                 const std::filesystem::path& merges,
                                                 const TokenizerConfig& config);

}  // namespace kvviz
