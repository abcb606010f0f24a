// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/regex.hpp"

#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/oniguruma.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

std::vector<std::string> matches(std::string_view oniguruma, std::string_view text) {
  std::vector<std::string> found;
  for (const ByteRange& range : Regex(pcre_from_oniguruma(oniguruma)).find_all(text)) {
    found.emplace_back(text.substr(range.begin, range.end - range.begin));
  }
  return found;
}

std::string refusal(std::string_view pattern) {
  return error_of<DataError>([&] { Regex{pcre_from_oniguruma(pattern)}; });
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("[regex] what Oniguruma and PCRE2 read differently means what Oniguruma reads") {
  CHECK(matches(R"(\s)", " \xC2\x85\xE1\xA0\x8E\xE3\x80\x80") ==
        Texts{" ", "\xC2\x85", "\xE3\x80\x80"});  // not U+180E
  CHECK(matches(R"([^\s]+)",
                "a\xE1\xA0\x8E"
                "b c") == Texts{"a\xE1\xA0\x8E"
                                "b",
                                "c"});
  CHECK(matches(R"(\h+)", "dead beef\txyz") == Texts{"dead", "beef"});
  CHECK(matches(R"(\v)",
                "a\x0B"
                "b\nc") == Texts{"\x0B"});
  CHECK(matches(R"(\w+)", "n\xCC\x83o\xE2\x80\xBFx-y") ==
        Texts{"n\xCC\x83o\xE2\x80\xBFx", "y"});                           // marks, connectors
  CHECK(matches(R"(\w+)", "\xC2\xBD\xE2\x85\x90") == Texts{"\xC2\xBD"});  // U+00BD, but not U+2150
  CHECK(matches(R"(a{,2}b)", "aaab") == Texts{"aab"});
  CHECK(matches(R"({a})", "{a}") == Texts{"{a}"});
  CHECK(matches(R"(x$)", "x\nx") == Texts{"x", "x"});
  CHECK(matches(R"(\p{Greek}+)", "\xCD\x82\xCE\xB1") ==
        Texts{"\xCE\xB1"});  // U+0342: Greek by extension only
  CHECK(matches(R"(\p{^L}+)", "ab12") == Texts{"12"});
}

TEST_CASE("[regex] a class in a class is the union of both") {
  CHECK(matches(R"([^(\s|[.,!])]+)", "a(b |c.d]e)f") == Texts{"a", "b", "c", "d]e", "f"});
  CHECK(matches(R"([a[b-d]]+)", "abcde") == Texts{"abcd"});
  CHECK(matches(R"([a-[c]]+)", "abc-c") == Texts{"a", "c-c"});
  CHECK(matches(R"([[a]-c]+)", "abc-c") == Texts{"a", "c-c"});
  CHECK(matches(R"([x[a-]c]+)", "abc-x") == Texts{"a", "c-x"});
  CHECK(matches(R"([x[-a]]+)", "-ax") == Texts{"-ax"});
}

TEST_CASE("[regex] case-insensitive contractions take the long s") {
  CHECK(matches(R"((?i:'s|'t)|\p{L}+)", "it'S'\xC5\xBFx") == Texts{"it", "'S", "'\xC5\xBF", "x"});
}

TEST_CASE("[regex] constructs of another meaning are refused by name and place") {
  CHECK(contains(refusal("a[[:alpha:]]"), "POSIX class at offset 2"));
  CHECK(contains(refusal("a[b[^c]]"), "negated class in a class at offset 3"));
  CHECK(contains(refusal("[a-z&&b]"), "class intersection"));
  CHECK(contains(refusal("(?i)a"), "group (?i)"));
  CHECK(contains(refusal("(?m:a)"), "group (?m:"));
  CHECK(contains(refusal("(?<n>a)"), "group (?<n"));
  CHECK(contains(refusal("(*UTF)a"), "verb"));
  CHECK(contains(refusal("a{2}+"), "repeat followed by +"));
  CHECK(contains(refusal("a{2}?"), "repeat followed by ?"));
  CHECK(contains(refusal(R"(\ba)"), "escape \\b"));
  CHECK(contains(refusal(R"((a)\1)"), "escape \\1"));
  CHECK(contains(refusal(R"([\W])"), "escape \\W"));
  CHECK(contains(refusal(R"(\pL)"), "property without braces"));
  CHECK(contains(refusal("a\\"), "trailing backslash"));
  CHECK(contains(refusal("[ab"), "class without end"));
  CHECK(contains(refusal("(a"), "cannot be used"));
  CHECK(contains(refusal(R"(\p{Nonsense})"), "cannot be used"));
}

TEST_CASE("[regex] literals match themselves") {
  const std::string text = "a.b*c[d](e)\\E\\Q$^|{2}+?-# \t\xE2\x96\x81";
  const std::vector<ByteRange> found = Regex(literal_pattern(text)).find_all("x" + text + text);
  REQUIRE(found.size() == 2);
  CHECK(found[0].begin == 1);
  CHECK(found[1].end == 1 + 2 * text.size());
}

TEST_CASE("[regex] empty matches are passed over") {
  CHECK(matches("b*",
                "a\xC3\xA4"
                "bbc") == Texts{"bb"});
  CHECK(matches("a", "").empty());
}

TEST_CASE("[regex] long runs do not exhaust the matcher") {
  const std::string blanks(3'000'000, ' ');
  CHECK(matches(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", blanks).size() == 1);
  CHECK(matches(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", blanks + "x").size() == 2);
  CHECK(matches(R"((?:a|b)+c|.)", std::string(100'000, 'a') + "c").size() == 1);
}

}  // namespace kvviz::test
