// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/tokenizer/trie.hpp"

namespace kvviz {

/// What a unigram language model is made of; ids are the places of the pieces.
struct UnigramRules {
  struct Piece {
    std::string text;
    double score;  ///< log probability
  };
  std::vector<Piece> pieces;
  std::optional<int32_t> unknown;
  std::array<std::optional<int32_t>, 256> byte_tokens;  ///< all or none: the fallback of unknown characters
};

/// The segmentation of a word with the largest sum of scores (Kudo 2018, arXiv:1804.10959), found by
/// Viterbi's algorithm. A character that no piece of its length covers may be unknown at 10 less than the
/// lowest score; neighbouring unknown ones are one, as in the package tokenizers. Sums are fp64. Thread-safe.
/// Cost: O(n m) for a word of n bytes and pieces of up to m bytes.
class Unigram {
 public:
  /// Reused between words; one per thread.
  struct Workspace {
    struct Best {
      double score;
      int64_t begin;  ///< of the last piece; -1: the place is not reached
      int32_t id;     ///< of the last piece; -1: unknown
    };
    std::vector<Best> ends;  ///< the best way to each byte
    std::vector<int32_t> ids;
  };

  explicit Unigram(UnigramRules rules);

  /// Appends the ids of `word`, valid UTF-8. Throws DataError when a character is unknown and there is
  /// neither a token for it nor its bytes.
  void encode(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const;

 private:
  void find_path(std::string_view word, Workspace& workspace) const;
  std::optional<int32_t> find(std::string_view text) const;
  void append_unknown(std::string_view text, std::vector<int32_t>& reversed) const;

  Trie texts_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  std::optional<int32_t> unknown_;
  std::array<std::optional<int32_t>, 256> byte_tokens_;
};

}  // namespace kvviz
