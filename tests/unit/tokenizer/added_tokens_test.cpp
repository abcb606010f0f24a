// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/added_tokens.hpp"

#include <doctest/doctest.h>

#include <string>

#include "kvviz/tokenizer/byte_alphabet.hpp"
#include "kvviz/tokenizer/trie.hpp"

namespace kvviz::test {
namespace {

using Texts = std::vector<std::string>;

// The parts, ids in brackets.
Texts parts(const std::vector<AddedToken>& tokens, std::string_view text) {
  Texts found;
  for (const AddedTokenFinder::Part& part : AddedTokenFinder(tokens).split(text)) {
    found.push_back(part.id ? "[" + std::to_string(*part.id) + "]" : std::string(part.text));
  }
  return found;
}

}  // namespace

TEST_CASE("[added tokens] the leftmost, of those the longest") {
  const std::vector<AddedToken> tokens = {
      {.id = 1, .text = "ab"}, {.id = 2, .text = "abc"}, {.id = 3, .text = "cd"}};
  CHECK(parts(tokens, "xabcdab") == Texts{"x", "[2]", "d", "[1]"});
  CHECK(parts(tokens, "abab") == Texts{"[1]", "[1]"});
  CHECK(parts(tokens, "").empty());
  CHECK(parts({}, "ab") == Texts{"ab"});
}

TEST_CASE("[added tokens] special ones stay text and hide what they overlap") {
  const std::vector<AddedToken> tokens = {{.id = 1, .text = "ab"}, {.id = 2, .text = "xab", .special = true}};
  CHECK(parts(tokens, "xab ab") == Texts{"xab ", "[1]"});
  CHECK(parts({tokens[1]}, "xab") == Texts{"xab"});
  CHECK(parts({{.id = 1, .text = "a"}, {.id = 2, .text = "a", .special = true}}, "a") == Texts{"a"});
}

TEST_CASE("[added tokens] white space goes with lstrip and rstrip") {
  const std::vector<AddedToken> left = {{.id = 1, .text = "<m>", .lstrip = true}};
  CHECK(parts(left, "a \xE3\x80\x80\n<m> b") == Texts{"a", "[1]", " b"});
  const std::vector<AddedToken> right = {{.id = 1, .text = "<m>", .rstrip = true}};
  CHECK(parts(right, "a <m>\t\xC2\xA0 b") == Texts{"a ", "[1]", "b"});
  CHECK(parts(right, "<m>  <m>") == Texts{"[1]", "[1]"});
  const std::vector<AddedToken> both = {{.id = 1, .text = "<m>", .lstrip = true, .rstrip = true}};
  CHECK(parts(both, " <m>  <m> ") == Texts{"[1]", "[1]"});
}

TEST_CASE("[added tokens] single_word wants no part of a word beside it") {
  const std::vector<AddedToken> tokens = {{.id = 1, .text = "the", .single_word = true}};
  CHECK(parts(tokens, "the then (the) \xC3\xA9the the\xCC\x81 the_ the") ==
        Texts{"[1]", " then (", "[1]", ") \xC3\xA9the the\xCC\x81 the_ ", "[1]"});
  CHECK(parts(tokens, "the\xE2\x80\x8D") == Texts{"the\xE2\x80\x8D"});  // a join control belongs to words
}

TEST_CASE("[trie] every entry that a text starts with, the shortest first") {
  const Trie trie({{"a", 1}, {"abc", 2}, {"ab", 3}, {"b", 4}, {"ab", 5}, {"", 6}});
  std::vector<std::pair<size_t, int32_t>> found;
  const auto keep = [&](size_t length, int32_t number) { found.emplace_back(length, number); };
  trie.prefixes("abd", keep);
  CHECK(found == std::vector<std::pair<size_t, int32_t>>{{1, 1}, {2, 3}});
  found.clear();
  trie.prefixes("c", keep);
  trie.prefixes("", keep);
  CHECK(found.empty());
  CHECK(trie.starts('b'));
  CHECK_FALSE(trie.starts('c'));
  CHECK(Trie().empty());
}

TEST_CASE("[byte alphabet] 256 printable characters, there and back") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string written = byte_characters(all);
  CHECK(bytes_of(written) == all);
  CHECK(byte_characters(" a\n") ==
        "\xC4\xA0"
        "a\xC4\x8A");
  CHECK(bytes_of(" ") == std::nullopt);
  CHECK(bytes_of("\xE2\x96\x81") == std::nullopt);
  CHECK(bytes_of("\xC5\x84") == std::nullopt);  // U+0144, the first beyond
}

}  // namespace kvviz::test
