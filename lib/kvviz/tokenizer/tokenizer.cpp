// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/tokenizer.hpp"

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/bpe_files.hpp"
#include "kvviz/tokenizer/sentencepiece_tokenizer.hpp"
#include "kvviz/tokenizer/tokenizer_config.hpp"

namespace kvviz {

std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder) {
  const auto has = [&](const char* name) { return std::filesystem::is_regular_file(folder / name); };
  require(std::filesystem::is_directory(folder), "[tokenizer] ", folder.string(), " is not a folder");
  const TokenizerConfig config = read_tokenizer_config(folder);
  if (has("tokenizer.model")) return open_sentencepiece(folder / "tokenizer.model", config);
  if (has("tokenizer.json")) return open_tokenizer_json(folder / "tokenizer.json", config);
  const bool vocab = has("vocab.json");
  const bool merges = has("merges.txt");
  if (vocab && merges) return open_vocab_and_merges(folder / "vocab.json", folder / "merges.txt", config);
  throw DataError(
      cat("[tokenizer] no tokenizer in ", folder.string(),
          ": looked for tokenizer.model (SentencePiece), tokenizer.json (BPE) and vocab.json with merges.txt "
          "(byte-level BPE)",
          vocab ? "; vocab.json is there, merges.txt is missing"
                : (merges ? "; merges.txt is there, vocab.json is missing" : "")));
}

}  // namespace kvviz
