// SPDX-License-Identifier: MIT
#include "kvviz/tokenizer/utf8.hpp"

#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

std::string require_error(std::string_view text) {
  return error_of<DataError>([&] { require_utf8(text); });
}

}  // namespace

TEST_CASE("[utf8] valid texts pass, from one byte to U+10FFFF") {
  for (const std::string_view text :
       {std::string_view(""), std::string_view("a\0b", 3), std::string_view("\x7F"),
        std::string_view("\xC2\x80\xDF\xBF"), std::string_view("\xE0\xA0\x80\xEF\xBF\xBF"),
        std::string_view("\xED\x9F\xBF\xEE\x80\x80"), std::string_view("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF")}) {
    CAPTURE(text);
    CHECK(require_error(text) == "");
    CHECK(to_utf8(text, BadBytes::replacement) == text);
  }
}

TEST_CASE("[utf8] the error names the byte and its offset") {
  const std::string message = require_error("caf\xE9 au lait");
  CHECK(contains(message, "<0xE9>"));
  CHECK(contains(message, "offset 3"));
  CHECK(contains(require_error("ab\xE2\x82"), "offset 2"));
  CHECK(contains(require_error("\xC0\x80"), "offset 0"));            // overlong
  CHECK(contains(require_error("x\xED\xA0\x80"), "offset 1"));       // surrogate
  CHECK(contains(require_error("xy\xF4\x90\x80\x80"), "offset 2"));  // above U+10FFFF
  CHECK(contains(require_error("\xE2\x82\xACz\x80"), "offset 4"));   // continuation alone
}

// The Unicode Standard, table 3-8: each maximal subpart becomes one U+FFFD.
TEST_CASE("[utf8] ill-formed parts become one replacement each, or every byte in hexadecimal") {
  const std::string bytes = "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64";
  const std::string r = "\xEF\xBF\xBD";
  CHECK(to_utf8(bytes, BadBytes::replacement) == "a" + r + r + r + "b" + r + "c" + r + r + "d");
  CHECK(to_utf8("\xED\xA0\x80", BadBytes::replacement) == r + r + r);
  CHECK(to_utf8(" \xE4\xB8", BadBytes::hex) == " <0xE4><0xB8>");
  CHECK(to_utf8("\xC3\xA4\xFF", BadBytes::hex) == "\xC3\xA4<0xFF>");
}

TEST_CASE("[utf8] normal forms") {
  CHECK(normalized("e\xCC\x81", NormalForm::nfc) == "\xC3\xA9");
  CHECK(normalized("\xC3\xA9", NormalForm::nfd) == "e\xCC\x81");
  CHECK(normalized("\xEF\xAC\x81\xC2\xB2", NormalForm::nfc) == "\xEF\xAC\x81\xC2\xB2");
  CHECK(normalized("\xEF\xAC\x81\xC2\xB2", NormalForm::nfkc) == "fi2");
  CHECK(normalized(std::string_view("a\0\xC3\xA9", 4), NormalForm::nfkd) ==
        std::string_view("a\0e\xCC\x81", 5));
}

}  // namespace kvviz::test
