// SPDX-License-Identifier: MIT
// What stands before the vocabulary's model: normalisers and pre-tokenisers.
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/normalizer.hpp"
#include "kvviz/tokenizer/pre_tokenizer.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

using nlohmann::json;
using Texts = std::vector<std::string>;

Texts words(const char* description, std::string_view text) {
  Texts found;
  PreTokenizer{json::parse(description)}({text, true}, [&](Stretch word) { found.emplace_back(word.text); });
  return found;
}

std::string split(const char* behaviour, const char* invert = "false") {
  return std::string(R"({"type":"Split","pattern":{"String":"-"},"behavior":")") + behaviour +
         R"(","invert":)" + invert + "}";
}

}  // namespace

TEST_CASE("[text steps] what becomes of the matches of a Split") {
  const std::string_view text = "the-final--countdown";
  CHECK(words(split("Removed").c_str(), text) == Texts{"the", "final", "countdown"});
  CHECK(words(split("Removed", "true").c_str(), text) == Texts{"-", "-", "-"});
  CHECK(words(split("Isolated").c_str(), text) == Texts{"the", "-", "final", "-", "-", "countdown"});
  CHECK(words(split("MergedWithPrevious").c_str(), text) == Texts{"the-", "final-", "-", "countdown"});
  CHECK(words(split("MergedWithNext").c_str(), text) == Texts{"the", "-final", "-", "-countdown"});
  CHECK(words(split("Contiguous").c_str(), text) == Texts{"the", "-", "final", "--", "countdown"});
}

TEST_CASE("[text steps] GPT-2's words") {
  CHECK(words(R"({"type":"ByteLevel","add_prefix_space":true})", "It's  2 x") ==
        Texts{" It", "'s", " ", " 2", " x"});
  CHECK(words(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})", "a b") == Texts{"a b"});
}

TEST_CASE("[text steps] Metaspace") {
  CHECK(words(R"({"type":"Metaspace","prepend_scheme":"first","split":true})", "a b") == Texts{"\xE2\x96\x81"
                                                                                               "a",
                                                                                               "\xE2\x96\x81"
                                                                                               "b"});
  CHECK(words(R"({"type":"Metaspace","prepend_scheme":"never","split":false})", "a b") ==
        Texts{"a\xE2\x96\x81"
              "b"});
}

TEST_CASE("[text steps] normalisers in sequence") {
  const Normalizer normalizer(json::parse(R"({"type":"Sequence","normalizers":[{"type":"NFC"},
      {"type":"Prepend","prepend":"_"},{"type":"Replace","pattern":{"String":"ab"},"content":"b"}]})"));
  CHECK(normalizer("aabe\xCC\x81") == "_ab\xC3\xA9");
  CHECK(normalizer("") == "");
}

TEST_CASE("[text steps] normalisers of case, marks, ends and patterns") {
  const auto normal = [](const char* description, std::string_view text) {
    return Normalizer(json::parse(description))(text);
  };
  CHECK(normal(R"({"type":"Lowercase"})", "\xC4\xB0\xCE\x91\xCE\xA3 A") == "i\xCC\x87\xCE\xB1\xCF\x83 a");
  CHECK(normal(R"({"type":"StripAccents"})", "e\xCC\x81\xE0\xA4\xBEx\xE2\x83\x9D\xC3\xA9") == "ex\xC3\xA9");
  CHECK(normal(R"({"type":"Strip","strip_left":true,"strip_right":true})", "\xE2\x80\x83 a b\t\xC2\x85") ==
        "a b");
  CHECK(normal(R"({"type":"Strip","strip_left":false,"strip_right":true})", " a ") == " a");
  CHECK(normal(R"({"type":"Strip","strip_left":true,"strip_right":false})", " a ") == "a ");
  CHECK(normal(R"({"type":"Replace","pattern":{"Regex":" {2,}"},"content":"_"})", "a   b c  ") == "a_b c_");
}

TEST_CASE("[text steps] Digits, Punctuation, white space") {
  CHECK(words(R"({"type":"Digits","individual_digits":false})", "a12\xC2\xB2 b") ==
        Texts{"a", "12\xC2\xB2", " b"});
  CHECK(words(R"({"type":"Digits","individual_digits":true})", "a12") == Texts{"a", "1", "2"});
  CHECK(words(R"({"type":"Punctuation"})", "a+b..\xE2\x80\x9C\xE2\x82\xAC") ==
        Texts{"a", "+", "b", ".", ".", "\xE2\x80\x9C", "\xE2\x82\xAC"});
  CHECK(words(R"({"type":"Punctuation","behavior":"Contiguous"})", "a..!b") == Texts{"a", "..!", "b"});
  CHECK(words(R"({"type":"WhitespaceSplit"})",
              " a\xC2\xA0"
              "b-c\n") == Texts{"a", "b-c"});
  CHECK(words(R"({"type":"Whitespace"})", "it's n\xCC\x83o_1 +-") ==
        Texts{"it", "'", "s", "n\xCC\x83o_1", "+-"});
}

TEST_CASE("[text steps] what follows ByteLevel sees its characters") {
  // U+00F2 is C3 B2 in UTF-8, and ByteLevel writes the byte B2 as U+00B2, a superscript digit.
  const char* falcon = R"({"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},
      {"type":"ByteLevel","add_prefix_space":false,"use_regex":true},{"type":"Digits","individual_digits":false},
      {"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated","invert":false}]})";
  CHECK(words(falcon, "in 12345!? \xC3\xB2") == Texts{"in", " ", "123", "45", "!?", " \xC3", "\xB2"});
}

TEST_CASE("[text steps] kinds that are not supported are named") {
  const auto pre_tokenizer = [](const char* description) {
    return error_of<DataError>([&] { PreTokenizer{json::parse(description)}; });
  };
  const auto normalizer = [](const char* description) {
    return error_of<DataError>([&] { Normalizer{json::parse(description)}; });
  };
  CHECK(contains(pre_tokenizer(R"({"type":"BertPreTokenizer"})"), "'BertPreTokenizer' is not supported"));
  CHECK(contains(
      pre_tokenizer(R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Metaspace"}]})"),
      "'Metaspace' after ByteLevel"));
  CHECK(contains(pre_tokenizer(split("Sideways").c_str()), "'Sideways'"));
  CHECK(contains(pre_tokenizer(R"({"type":"Split","pattern":{"Regex":"a*"},"behavior":"Isolated"})"),
                 "can match nothing"));
  CHECK(contains(pre_tokenizer(R"({"type":"Metaspace","replacement":"_"})"), "other than U+2581"));
  CHECK(contains(normalizer(R"({"type":"BertNormalizer"})"), "'BertNormalizer'"));
  CHECK(contains(normalizer(R"({"type":"Precompiled","precompiled_charsmap":""})"), "tokenizer.model"));
  CHECK(contains(normalizer(R"({"type":"Replace","pattern":{"Regex":"a*"},"content":"b"})"),
                 "can match nothing"));
}

}  // namespace kvviz::test
