// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <memory>
#include <string_view>

#include "kvviz/tokenizer/tokenizer.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"

namespace kvviz {

/// tokenizer.json: byte-level BPE, BPE over characters, or a unigram model. What is put before a text follows
/// transformers: the classes that rebuild the post-processor (Llama, CodeLlama, Gemma, GPT-NeoX, Cohere) add
/// a BOS as tokenizer_config.json's add_bos_token says, by default all but GPT-NeoX; without a class
/// add_bos_token goes before the post-processor; with any other class the post-processor alone counts. Where
/// nothing names a BOS or EOS and the vocabulary has GPT-2's "<|endoftext|>", that is the one. Throws
/// DataError (another kind, a part that is not supported, a corrupt file).
std::unique_ptr<Tokenizer> open_tokenizer_json(const std::filesystem::path& file,
                                               const TokenizerConfig& config);

/// The same from the file's text; its errors name no file, its hash is that of the text.
std::unique_ptr<Tokenizer> parse_tokenizer_json(std::string_view text, const TokenizerConfig& config);

}  // namespace kvviz
