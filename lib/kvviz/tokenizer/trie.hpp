// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvviz {

/// Texts with a number each, for finding those that a longer text starts with. Immutable; lookups are
/// thread-safe.
class Trie {
 public:
  using Entry = std::pair<std::string, int32_t>;

  Trie() = default;
  /// Of several entries with the same text the first counts. Empty texts are left out.
  /// Cost: O(n log n) comparisons of n texts.
  explicit Trie(std::vector<Entry> entries);

  bool empty() const { return edges_.empty(); }
  /// Whether an entry starts with `first`: a cheap test before prefixes().
  bool starts(char first) const { return root_[static_cast<uint8_t>(first)] != 0; }

  /// Calls `found(length, number)` for every entry that `text` starts with, the shortest first.
  template <class Found>
  void prefixes(std::string_view text, Found&& found) const {
    if (text.empty()) return;
    uint32_t node = root_[static_cast<uint8_t>(text[0])];
    for (size_t length = 1; node != 0; ++length) {
      const Node& here = nodes_[node];
      if (here.number >= 0) found(length, here.number);
      if (length == text.size()) return;
      node = child(here, text[length]);
    }
  }

 private:
  struct Node {
    int32_t number = -1;
    uint32_t first_edge = 0;
    uint32_t edge_end = 0;
  };
  struct Edge {
    uint8_t byte;
    uint32_t node;
  };

  uint32_t child(const Node& node, char c) const {
    const auto byte = static_cast<uint8_t>(c);
    const auto begin = edges_.begin() + node.first_edge;
    const auto end = edges_.begin() + node.edge_end;
    const auto edge =
        std::lower_bound(begin, end, byte, [](const Edge& e, uint8_t wanted) { return e.byte < wanted; });
    return edge != end && edge->byte == byte ? edge->node : 0;
  }

  std::array<uint32_t, 256> root_{};  ///< node of each first byte; 0: none
  std::vector<Node> nodes_;           ///< 0 is the root
  std::vector<Edge> edges_;
};

}  // namespace kvviz
