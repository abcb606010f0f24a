// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kvviz {

/// Text to token ids and back. Thread-safe after construction. Cost: about 0.1 s a megabyte for byte-level
/// BPE; for SentencePiece 0.5 s in texts of some 10 kB, more for a megabyte in one call.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Ids of the text alone: no BOS, no EOS. Special tokens written in the text are text, as with Hugging
  /// Face's `split_special_tokens`; other added tokens of a tokenizer.json are found. Throws DataError on
  /// invalid UTF-8, naming the byte offset.
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  /// The text of ids. Special tokens give nothing, byte pieces that do not form UTF-8 become U+FFFD. Where
  /// the tokenizer puts a space before the text (Llama), the first space is dropped again. Nothing is tidied
  /// up, so decode(encode(text)) == text unless the tokenizer normalises text or knows no token for a part of
  /// it. An id without a token gives nothing: models have rows beyond their vocabulary. Throws DataError for
  /// a negative id.
  virtual std::string decode(const std::vector<int32_t>& ids) const = 0;
  /// One token as shown to a reader: its text, with "<0xE4>" for each byte that is not valid UTF-8; "<s>" for
  /// a special token; "<id 32005>" for an id without a token. Whitespace is kept as it is.
  virtual std::string piece(int32_t id) const = 0;
  /// The largest id + 1. A model's embedding may have more rows.
  virtual int32_t vocabulary() const = 0;
  /// Named by tokenizer_config.json or special_tokens_map.json, else by the vocabulary file, else by
  /// config.json.
  virtual std::optional<int32_t> bos() const = 0;
  virtual std::optional<int32_t> eos() const = 0;
  /// Whether the tokenizer's own configuration puts a BOS first (`--bos auto`).
  virtual bool adds_bos() const = 0;
  /// Special tokens, by name, that the tokenizer's own post-processor puts around a text besides that BOS (an
  /// EOS of BERT's kin). They are never added.
  virtual std::vector<std::string> left_out() const { return {}; }
  /// SHA-256 over the vocabulary file(s), then tokenizer_config.json, special_tokens_map.json and
  /// added_tokens.json where they exist.
  virtual const std::string& hash() const = 0;
};

/// Opens the tokenizer of a model: a folder with tokenizer.json (BPE or a unigram model), else
/// tokenizer.model (SentencePiece), else vocab.json + merges.txt (byte-level BPE of GPT-2 or Qwen2), else a
/// .gguf file; or a .gguf file itself. As in transformers, tokenizer.json goes first: it knows the added
/// tokens. Throws DataError: none of the files there (names them), a kind that is not supported (names the
/// kind and what is), a corrupt file.
std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& path);

/// The same, but where none of the files is there no_tokenizer(): its encode() throws what open_tokenizer()
/// would.
std::unique_ptr<Tokenizer> open_tokenizer_if_any(const std::filesystem::path& path, int64_t vocabulary);

}  // namespace kvviz
