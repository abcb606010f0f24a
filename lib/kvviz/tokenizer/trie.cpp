// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/trie.hpp"

namespace kvviz {

Trie::Trie(std::vector<Entry> entries) {
  std::erase_if(entries, [](const Entry& entry) { return entry.first.empty(); });
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.first < b.first; });
  if (entries.empty()) return;

  struct Range {
    size_t begin, end, depth;
  };
  // Node i holds the entries of range i, which share their first `depth` bytes; children follow their
  // parents.
  std::vector<Range> ranges = {{0, entries.size(), 0}};
  nodes_.emplace_back();
  for (size_t node = 0; node < ranges.size(); ++node) {
    auto [begin, end, depth] = ranges[node];
    if (entries[begin].first.size() == depth) nodes_[node].number = entries[begin].second;
    while (begin < end && entries[begin].first.size() == depth) ++begin;
    nodes_[node].first_edge = static_cast<uint32_t>(edges_.size());
    while (begin < end) {
      const char byte = entries[begin].first[depth];
      const size_t first = begin;
      while (begin < end && entries[begin].first[depth] == byte) ++begin;
      edges_.push_back({static_cast<uint8_t>(byte), static_cast<uint32_t>(nodes_.size())});
      nodes_.emplace_back();
      ranges.push_back({first, begin, depth + 1});
    }
    nodes_[node].edge_end = static_cast<uint32_t>(edges_.size());
  }
  for (uint32_t edge = 0; edge < nodes_[0].edge_end; ++edge) root_[edges_[edge].byte] = edges_[edge].node;
}

}  // namespace kvviz
