// SPDX-License-Identifier: MIT
#include "kvviz/plot/text.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace kvviz::plot;

TEST_CASE("[text] white space of a token is shown") {
  CHECK(visible(" the") == "␣the");
  CHECK(visible("\n") == "⏎");
  CHECK(visible("a\tb") == "a⇥b");
  CHECK(visible("") == "(empty)");
  CHECK(visible("▁the") == "▁the");
  CHECK(visible("中文 é") == "中文␣é");
}

TEST_CASE("[text] control and invisible characters become escapes") {
  CHECK(one_line(std::string("a\0b", 3)) == "a\\x00b");
  CHECK(one_line("\x1b[31m\r") == "\\x1b[31m\\x0d");
  CHECK(one_line("\x7f") == "\\x7f");
  CHECK(one_line("x\u202ey\u200bz\ufeff") == "x\\u202ey\\u200bz\\ufeff");
  CHECK(one_line("a\nb\tc") == "a b c");
}

TEST_CASE("[text] malformed UTF-8 becomes U+FFFD, byte by byte") {
  CHECK(one_line("\xff\xfe") == "��");
  CHECK(one_line("a\xc3") == "a�");               // cut short
  CHECK(one_line("\xc0\xaf") == "��");            // overlong
  CHECK(one_line("\xed\xa0\x80") == "���");       // surrogate
  CHECK(one_line("\xf4\x90\x80\x80") == "����");  // beyond U+10FFFF
  CHECK(one_line("\xe4\xb8\xad\xf0\x9f\x98\x80") == "中😀");
}

TEST_CASE("[text] a literal ends only where it should") {
  CHECK(quoted("a, b (c)") == "\"a, b (c)\"");
  CHECK(quoted("it's") == "\"it\\047s\"");
  CHECK(quoted("\"") == "\"\\042\"");
  CHECK(quoted("\\") == "\"\\134\"");
  CHECK(quoted("`$@{}#!") == "\"\\140\\044\\100\\173\\175\\043\\041\"");
  CHECK(quoted("a\nb") == "\"a b\"");
  CHECK(quoted("über") == "\"über\"");
  CHECK(quoted("50%") == "\"50%\"");
  CHECK(quoted_tick("50%") == "\"50%%\"");
  for (int c = 0; c < 256; ++c) {  // between the outer quotes: no quote, and no backslash but in \\ooo
    const std::string text = quoted(std::string(1, static_cast<char>(c)));
    const std::string inner = text.substr(1, text.size() - 2);
    CHECK(inner.find_first_of("\"'`@$\n\r") == std::string::npos);
    if (const size_t at = inner.find('\\'); at != std::string::npos)
      CHECK(inner.substr(at + 1, 3).find_first_not_of("01234567") == std::string::npos);
  }
}

TEST_CASE("[text] widths add up and cuts keep within them") {
  CHECK(text_width("", 10) == 0);
  CHECK(text_width("0000", 10) == doctest::Approx(4 * 6.36));
  CHECK(text_width("ab", 20) == doctest::Approx(text_width("a", 20) + text_width("b", 20)));
  CHECK(shortened("short", 100, 10) == "short");
  const std::string cut = shortened("a rather long label", 60, 10);
  CHECK(cut.ends_with("…"));
  CHECK(text_width(cut, 10) <= 60);
  CHECK(shortened("中中中中中中", 35, 10) == "中中…");
}

TEST_CASE("[text] wrapping keeps every word and every width") {
  const std::string text = "one two three four five six seven";
  std::string joined;
  for (const std::string& line : wrapped(text, 80, 10)) {
    CHECK(text_width(line, 10) <= 80);
    joined += (joined.empty() ? "" : " ") + line;
  }
  CHECK(joined == text);
  CHECK(wrapped("", 80, 10).empty());
  CHECK(wrapped("incomprehensibilities", 40, 10).size() == 1);
  CHECK(text_width(wrapped("incomprehensibilities", 40, 10)[0], 10) <= 40);
}
