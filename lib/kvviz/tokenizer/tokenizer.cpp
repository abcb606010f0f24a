// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/tokenizer.hpp"

#include "kvviz/core/error.hpp"
#include "kvviz/formats/gguf.hpp"
#include "kvviz/formats/weight_files.hpp"
#include "kvviz/tokenizer/bpe_files.hpp"
#include "kvviz/tokenizer/gguf_tokenizer.hpp"
#include "kvviz/tokenizer/no_tokenizer.hpp"
#include "kvviz/tokenizer/sentencepiece_tokenizer.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"
#include "kvviz/tokenizer/tokenizer_json.hpp"

namespace kvviz {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Tokenizer> open_gguf(const fs::path& path) {
  const GgufFile file = GgufFile::open(path);
  return has_vocabulary(file) ? open_gguf_tokenizer(file) : nullptr;
}

// Null: none of the files is there, or the .gguf file has none.
std::unique_ptr<Tokenizer> found_tokenizer(const fs::path& path) {
  if (fs::is_regular_file(path) && path.extension() == ".gguf") return open_gguf(path);
  require(fs::is_directory(path), "[tokenizer] ", path.string(), " is not a folder, nor a .gguf file");
  const auto has = [&](const char* name) { return fs::is_regular_file(path / name); };
  const TokenizerConfig config = read_tokenizer_config(path);
  if (has("tokenizer.json")) return open_tokenizer_json(path / "tokenizer.json", config);
  if (has("tokenizer.model")) return open_sentencepiece(path / "tokenizer.model", config);
  if (has("vocab.json") && has("merges.txt"))
    return open_vocab_and_merges(path / "vocab.json", path / "merges.txt", config);
  if (const std::optional<fs::path> gguf = gguf_of(path)) return open_gguf(*gguf);
  return nullptr;
}

std::string nothing_found(const fs::path& path) {
  if (fs::is_regular_file(path))
    return cat("[tokenizer] no tokenizer in ", path.string(), ": it was written without a vocabulary");
  const bool vocab = fs::is_regular_file(path / "vocab.json");
  const bool merges = fs::is_regular_file(path / "merges.txt");
  return cat("[tokenizer] no tokenizer in ", path.string(),
             ": looked for tokenizer.json (BPE, Unigram), tokenizer.model (SentencePiece), vocab.json "
             "with merges.txt (byte-level BPE) and a .gguf file with a vocabulary",
             vocab    ? "; vocab.json is there, merges.txt is missing"
             : merges ? "; merges.txt is there, vocab.json is missing"
                      : "");
}

}  // namespace

std::unique_ptr<Tokenizer> open_tokenizer(const fs::path& path) {
  auto tokenizer = found_tokenizer(path);
  require(tokenizer != nullptr, nothing_found(path));
  return tokenizer;
}

std::unique_ptr<Tokenizer> open_tokenizer_if_any(const fs::path& path, int64_t vocabulary) {
  auto tokenizer = found_tokenizer(path);
  if (tokenizer) return tokenizer;
  return no_tokenizer(nothing_found(path) + ". --tokens takes a file of token ids, which needs none",
                      static_cast<int32_t>(vocabulary));
}

}  // namespace kvviz
