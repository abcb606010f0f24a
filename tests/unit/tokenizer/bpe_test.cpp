// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/bpe.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>

#include "kvviz/core/error.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

// Ids 0..letters-1 are the letters 'a'..; each merge makes a new id.
BpeRules random_rules(int letters, int merges, std::mt19937& generator) {
  BpeRules rules;
  for (int32_t id = 0; id < letters; ++id) rules.byte_tokens[static_cast<size_t>('a' + id)] = id;
  for (int32_t id = letters; id < letters + merges; ++id) {
    std::uniform_int_distribution<int32_t> any(0, id - 1);
    rules.merges.push_back({any(generator), any(generator), id, 0});
  }
  std::shuffle(rules.merges.begin(), rules.merges.end(), generator);
  int32_t rank = 0;
  for (BpeMerge& merge : rules.merges) merge.rank = rank++;
  return rules;
}

std::string random_word(int letters, size_t size, std::mt19937& generator) {
  std::uniform_int_distribution<int> any(0, letters - 1);
  std::string word(size, ' ');
  for (char& c : word) c = static_cast<char>('a' + any(generator));
  return word;
}

// The definition: merge the leftmost of the lowest-ranked pairs until none is left.
std::vector<int32_t> merged_by_definition(const std::string& word, const BpeRules& rules) {
  std::map<std::pair<int32_t, int32_t>, size_t> rank;
  for (size_t i = 0; i < rules.merges.size(); ++i) rank[{rules.merges[i].left, rules.merges[i].right}] = i;
  std::vector<int32_t> ids;
  for (const char c : word) ids.push_back(c - 'a');
  for (;;) {
    size_t best = rules.merges.size();
    size_t where = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = rank.find({ids[i], ids[i + 1]});
      if (found != rank.end() && found->second < best) {
        best = found->second;
        where = i;
      }
    }
    if (best == rules.merges.size()) return ids;
    ids[where] = rules.merges[best].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
}

std::vector<int32_t> encoded(const Bpe& bpe, std::string_view word) {
  Bpe::Workspace workspace;
  std::vector<int32_t> ids;
  bpe.encode(word, workspace, ids);
  return ids;
}

}  // namespace

TEST_CASE("[bpe] merges as by definition, whatever the merges and words") {
  std::mt19937 generator(7);
  Bpe::Workspace workspace;
  for (int round = 0; round < 200; ++round) {
    const int letters = 1 + round % 5;
    const BpeRules rules = random_rules(letters, 30, generator);
    const Bpe bpe(rules);
    for (size_t size = 0; size < 40; size += 3) {
      const std::string word = random_word(letters, size, generator);
      CAPTURE(word);
      std::vector<int32_t> ids;
      bpe.encode(word, workspace, ids);
      CHECK(ids == merged_by_definition(word, rules));
    }
  }
}

TEST_CASE("[bpe] a word of a million bytes takes no quadratic time") {
  BpeRules rules;
  rules.byte_tokens[static_cast<size_t>('a')] = 0;
  for (int32_t id = 1; id <= 10; ++id) rules.merges.push_back({id - 1, id - 1, id, id});
  const std::vector<int32_t> ids = encoded(Bpe(rules), std::string(1'000'000, 'a'));
  CHECK(ids.size() == 976 + 2);  // 1e6 = 976 * 1024 + 576, and 576 = 512 + 64
  CHECK(ids.front() == 10);
  CHECK(ids.back() == 6);
}

TEST_CASE("[bpe] whole words go before merges only where the rules say so") {
  BpeRules rules;
  rules.byte_tokens[static_cast<size_t>('a')] = 0;
  rules.byte_tokens[static_cast<size_t>('b')] = 1;
  rules.text_tokens = {{"ab", 2}};
  CHECK(encoded(Bpe(rules), "ab") == std::vector<int32_t>{0, 1});
  rules.whole_words = true;
  CHECK(encoded(Bpe(rules), "ab") == std::vector<int32_t>{2});
}

TEST_CASE("[bpe] characters fall back to bytes, then to the unknown token, then to an error") {
  BpeRules rules;
  rules.alphabet = BpeRules::Alphabet::characters;
  rules.text_tokens = {{"a", 0}, {"\xC3\xA4", 1}};
  rules.byte_tokens[0xE2] = 2;
  rules.byte_tokens[0x82] = 3;
  rules.byte_tokens[0xAC] = 4;
  CHECK(encoded(Bpe(rules),
                "\xC3\xA4\xE2\x82\xAC"
                "a") == std::vector<int32_t>{1, 2, 3, 4, 0});
  CHECK(contains(error_of<DataError>([&] { encoded(Bpe(rules), "\xC3\xA5"); }), "not in the vocabulary"));
  rules.unknown = 9;
  CHECK(encoded(Bpe(rules),
                "xy"
                "a\xC3\xA5") == std::vector<int32_t>{9, 9, 0, 9});
  rules.fuse_unknown = true;
  CHECK(encoded(Bpe(rules),
                "xy"
                "a\xC3\xA5") == std::vector<int32_t>{9, 0, 9});
}

TEST_CASE("[bpe] a byte without a token is an error, not a gap") {
  BpeRules rules;
  rules.byte_tokens[static_cast<size_t>('a')] = 0;
  CHECK(contains(error_of<DataError>([&] { encoded(Bpe(rules), "ab"); }), "byte 98"));
}

}  // namespace kvviz::test
