// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace kvviz {

/// Hash of a string or a view of one, so that maps keyed by std::string are searched without a copy.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using TextIds = std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>>;

/// Tokens `left` and `right` become `result`. The lowest rank is merged first.
struct BpeMerge {
  int32_t left;
  int32_t right;
  int32_t result;
  int32_t rank;
};

/// What a byte-pair encoding is made of; ids are already checked against the vocabulary.
struct BpeRules {
  enum class Alphabet {
    bytes,       ///< every byte starts as a token of its own (GPT-2)
    characters,  ///< every character does; one without a token falls back to its bytes (Llama), else to
                 ///< `unknown`
  };
  Alphabet alphabet = Alphabet::bytes;
  std::vector<BpeMerge> merges;                         ///< of a pair that is there twice the last counts
  std::array<std::optional<int32_t>, 256> byte_tokens;  ///< bytes: the alphabet; characters: the fallback
  TextIds text_tokens;       ///< tokens by their text: characters, and words for `whole_words`
  bool whole_words = false;  ///< a word that is a token stays whole ("ignore_merges")
  std::optional<int32_t> unknown;
  bool fuse_unknown = false;  ///< neighbouring unknown characters are one unknown token
};

/// Byte-pair encoding of one word: starting from single symbols, the pair with the lowest merge rank
/// (leftmost among equals) is merged until none is left (Sennrich et al. 2016, arXiv:1508.07909).
/// Thread-safe. Cost: O(n log n) for a word of n bytes.
class Bpe {
 public:
  /// Reused between words; one per thread.
  struct Workspace {
    struct Symbol {
      int32_t id;
      int32_t previous;
      int32_t next;  // of a symbol merged into its left neighbour: merged_away
    };
    struct Candidate {
      int32_t rank;
      int32_t position;
      int32_t result;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  explicit Bpe(BpeRules rules);

  /// Appends the ids of `word`, valid UTF-8. Throws DataError when a byte or character has no token at all.
  void encode(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const;

 private:
  struct Merged {
    int32_t rank;
    int32_t result;
  };

  void start(std::string_view word, Workspace& workspace) const;
  void start_character(std::string_view character, Workspace& workspace) const;
  void push(int32_t position, Workspace& workspace) const;
  const Merged* merged(int32_t left, int32_t right) const;

  BpeRules rules_;
  std::unordered_map<uint64_t, Merged> pairs_;
};

}  // namespace kvviz
