// SPDX-License-Identifier: MIT
#pragma once
#include <memory>

#include "kvviz/formats/gguf.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"

namespace kvviz {

/// Whether a GGUF file has one: llama.cpp writes tokenizer.ggml.model "none", or no such key, for a model of
/// bare ids.
bool has_vocabulary(const GgufFile& file);

/// The vocabulary inside a GGUF file (keys tokenizer.ggml.*), as the tokenizer that it was made from has it:
///   model "llama"  SentencePiece BPE: the pair whose token has the highest score is merged first, U+2581
///   before the
///                  text unless add_space_prefix is false, bytes for unknown characters;
///   model "gpt2"   byte-level BPE; `pre` names what cuts text into words (word_rules.hpp).
/// Control tokens are special, user-defined ones are found in text. A BOS is added as add_bos_token says,
/// else as the model does (llama: yes). Throws DataError: another model, an unknown or missing `pre` (naming
/// the known ones), arrays of different lengths, texts that are no UTF-8, merges or ids that do not fit the
/// vocabulary. The hash is over these keys, not over the file. Cost: for "llama" a table look-up for each way
/// to cut each token in two.
std::unique_ptr<Tokenizer> open_gguf_tokenizer(const GgufFile& file);

}  // namespace kvviz
