// SPDX-License-Identifier: MIT
// Vocabularies inside GGUF files.
#include <doctest/doctest.h>

#include <limits>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"
#include "kvviz/tokenizer/word_rules.hpp"
#include "unit/tokenizer/gguf_bytes.hpp"
#include "unit/tokenizer/gguf_support.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

using Ids = std::vector<int32_t>;

const std::string space = "\xE2\x96\x81";

enum : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

// 0 <unk>, 1 <s>, 2 </s>, 3 byte A, 4 the space, 5 a, 6 b, 7 ab, 8 bb, 9 the space and a, 10 <tool>, 11
// unused
GgufBytes llama() {
  GgufBytes file;
  file.text("tokenizer.ggml.model", "llama")
      .texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "<0x41>", space, "a", "b", "ab", "bb",
                                       space + "a", "<tool>", "[PAD11]"})
      .numbers("tokenizer.ggml.scores", {0, 0, 0, 0, -5, -6, -7, -2, -1, -3, 0, 0})
      .integers("tokenizer.ggml.token_type", {unknown, control, control, byte, normal, normal, normal, normal,
                                              normal, normal, user_defined, unused});
  return file;
}

GgufBytes llama_with_ends() {
  GgufBytes file = llama();
  file.id("tokenizer.ggml.unknown_token_id", 0).id("tokenizer.ggml.bos_token_id", 1);
  file.id("tokenizer.ggml.eos_token_id", 2);
  return file;
}

GgufBytes gpt2(const std::string& pre) {
  GgufBytes file;
  file.text("tokenizer.ggml.model", "gpt2")
      .texts("tokenizer.ggml.tokens", {"a", "b", "ab", "\xC4\xA0",
                                       "\xC4\xA0"
                                       "a",
                                       "<|end|>"})
      .integers("tokenizer.ggml.token_type", {normal, normal, normal, normal, normal, control})
      .texts("tokenizer.ggml.merges", {"\xC4\xA0 a", "a b"})
      .id("tokenizer.ggml.eos_token_id", 5)
      .text("tokenizer.ggml.pre", pre);
  return file;
}

template <class Work>
std::string error(const Work& work) {
  return error_of<DataError>(work);
}

}  // namespace

TEST_CASE(
    "[gguf tokenizer] llama: the pair of the highest score first, the leftmost of equals, bytes, one "
    "unknown") {
  const auto tokenizer = llama_with_ends().open();
  CHECK(tokenizer->encode("abb") == Ids{9, 8});  // bb (-1) before ab (-2), then the space and a (-3)
  CHECK(tokenizer->encode("bab") == Ids{4, 6, 7});
  CHECK(tokenizer->encode("bbb") == Ids{4, 8, 6});
  CHECK(tokenizer->encode("aA") == Ids{9, 3});
  CHECK(tokenizer->encode("a\xC3\xA4xa") == Ids{9, 0, 5});
  CHECK(tokenizer->encode("a<tool>b") == Ids{9, 10, 6});
  CHECK(tokenizer->encode("") == Ids{});
  CHECK(tokenizer->decode({1, 9, 3, 10, 2}) == "aA<tool>");
}

TEST_CASE("[gguf tokenizer] what it says of its tokens") {
  const auto tokenizer = llama_with_ends().open();
  CHECK(tokenizer->vocabulary() == 12);
  CHECK(tokenizer->bos() == 1);
  CHECK(tokenizer->eos() == 2);
  CHECK(tokenizer->adds_bos());
  CHECK(tokenizer->left_out().empty());
  CHECK(tokenizer->piece(9) == " a");
  CHECK(tokenizer->piece(3) == "A");
  CHECK(tokenizer->piece(1) == "<s>");
  CHECK(tokenizer->piece(11) == "<id 11>");
  CHECK(tokenizer->decode({11}).empty());
}

TEST_CASE("[gguf tokenizer] flags of the file") {
  CHECK(llama_with_ends().boolean("tokenizer.ggml.add_space_prefix", false).open()->encode("a b") ==
        Ids{5, 4, 6});
  CHECK_FALSE(llama_with_ends().boolean("tokenizer.ggml.add_bos_token", false).open()->adds_bos());
  CHECK_FALSE(llama().open()->adds_bos());  // there is none
  CHECK(
      contains(error([] { llama().boolean("tokenizer.ggml.add_bos_token", true).open(); }), "bos_token_id"));
  CHECK(llama_with_ends().boolean("tokenizer.ggml.add_eos_token", true).open()->left_out() ==
        std::vector<std::string>{"</s>"});
  CHECK(contains(error([] { llama().boolean("tokenizer.ggml.remove_extra_whitespaces", true).open(); }),
                 "remove_extra_whitespaces"));
}

TEST_CASE("[gguf tokenizer] gpt2: merges of bytes between the words that `pre` names") {
  const auto tokenizer = gpt2("gpt-2").open();
  CHECK(tokenizer->encode("ab a") == Ids{2, 4});
  CHECK(tokenizer->decode({2, 4, 5}) == "ab a");
  CHECK(tokenizer->eos() == 5);
  CHECK_FALSE(tokenizer->adds_bos());
  CHECK(gpt2("llama-bpe").id("tokenizer.ggml.bos_token_id", 5).open()->adds_bos());
  CHECK_FALSE(gpt2("gpt-2").id("tokenizer.ggml.bos_token_id", 5).open()->adds_bos());
}

TEST_CASE(
    "[gguf tokenizer] every known name of `pre` can be opened, others are refused with the known ones") {
  const std::string message = error([] { gpt2("nonsense").open(); });
  CHECK(contains(message, "'nonsense'"));
  CHECK(contains(message, "made.gguf"));
  std::string names = word_rule_names() + ", ";
  for (size_t end = 0; !names.empty(); names.erase(0, end + 2)) {
    end = names.find(", ");
    const std::string name = names.substr(0, end);
    CAPTURE(name);
    CHECK(contains(message, name));
    CHECK(gpt2(name).open()->encode("a") == Ids{0});
  }
  GgufBytes without;
  without.text("tokenizer.ggml.model", "gpt2").texts("tokenizer.ggml.tokens", {"a"});
  CHECK(contains(error([&] { without.open(); }), "tokenizer.ggml.pre is missing"));
}

TEST_CASE("[gguf tokenizer] files that do not fit together are refused") {
  GgufBytes bert;
  bert.text("tokenizer.ggml.model", "bert").texts("tokenizer.ggml.tokens", {"a"});
  CHECK(contains(error([&] { bert.open(); }), "'bert'"));
  CHECK(contains(error([] { GgufBytes().open(); }), "tokenizer.ggml.model"));
  const auto base = [] {
    GgufBytes file;
    file.text("tokenizer.ggml.model", "llama");
    return file;
  };
  CHECK(contains(error([&] { base().texts("tokenizer.ggml.tokens", {}).open(); }), "0 tokens"));
  CHECK(contains(error([&] { base().texts("tokenizer.ggml.tokens", {"a\xFF"}).open(); }), "not valid UTF-8"));
  const auto one = [&] { return base().texts("tokenizer.ggml.tokens", {"a"}); };
  CHECK(contains(error([&] { one().open(); }), "tokenizer.ggml.scores"));
  CHECK(contains(error([&] { one().numbers("tokenizer.ggml.scores", {1, 2}).open(); }), "2 elements for 1"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(contains(error([&] { one().numbers("tokenizer.ggml.scores", {nan}).open(); }), "not a number"));
  const auto scored = [&] { return one().numbers("tokenizer.ggml.scores", {1}); };
  CHECK(contains(error([&] {
                   scored().integers("tokenizer.ggml.token_type", {1, 1}).open();
                 }),
                 "2 elements"));
  CHECK(contains(error([&] { scored().integers("tokenizer.ggml.token_type", {7}).open(); }), "type 7"));
  CHECK(
      contains(error([&] { scored().integers("tokenizer.ggml.token_type", {byte}).open(); }), "like <0x0A>"));
  CHECK(contains(error([&] { scored().id("tokenizer.ggml.bos_token_id", 1).open(); }), "bos_token_id is 1"));
  CHECK(contains(error([&] { scored().open()->encode("b"); }), "not in the vocabulary"));
  CHECK(contains(error([] { gpt2("gpt-2").open()->encode("c"); }), "byte 99"));
}

TEST_CASE("[gguf tokenizer] the hash follows the vocabulary and nothing else") {
  const std::string plain = llama_with_ends().open()->hash();
  CHECK(plain.size() == 64);
  CHECK(llama_with_ends().text("general.name", "x").open()->hash() == plain);
  CHECK(llama_with_ends().boolean("tokenizer.ggml.add_bos_token", true).open()->hash() != plain);
  CHECK(llama().open()->hash() != plain);
}

TEST_CASE("[gguf tokenizer] a path that is a .gguf file, and a folder that has one") {
  const std::filesystem::path made = fixtures() / "property" / "made" / "gguf-llama";
  const auto model = open_tokenizer(fixtures() / "sentencepiece-bpe");
  const std::string text = "The harbour town wakes, \xE6\xB8\xAF 1,024 <tool>";
  CHECK(open_tokenizer(made / "vocabulary.gguf")->encode(text) == model->encode(text));
  CHECK(open_tokenizer(made)->encode(text) == model->encode(text));
  const TempFolder folder;
  const TempFolder parts;
  parts.link("x-00001-of-00002.gguf", made / "vocabulary.gguf");
  parts.write("x-00002-of-00002.gguf", "GGUF");
  CHECK(open_tokenizer(parts.path())->encode(text) == model->encode(text));
  folder.link("b.gguf", made / "vocabulary.gguf");
  folder.write("a.gguf", "GGUF");
  CHECK(contains(error([&] { open_tokenizer(folder.path()); }), "holds several GGUF files: a.gguf, b.gguf"));
  folder.link("tokenizer.json", fixtures() / "bytes" / "tokenizer.json");
  CHECK(open_tokenizer(folder.path())->vocabulary() > 600);
}

TEST_CASE("[gguf tokenizer] a file without a vocabulary is a model of bare ids") {
  const TempFolder folder;
  folder.write("none.gguf", GgufBytes().text("tokenizer.ggml.model", "none").bytes());
  folder.write("no_key.gguf", GgufBytes().text("general.name", "x").bytes());
  for (const char* name : {"none.gguf", "no_key.gguf"}) {
    const std::filesystem::path file = folder.path() / name;
    CHECK(contains(error([&] { open_tokenizer(file); }),
                   "no tokenizer in " + file.string() + ": it was written"));
    const auto ids = open_tokenizer_if_any(file, 7);
    CHECK(ids->vocabulary() == 7);
    CHECK(ids->piece(3) == "<id 3>");
    CHECK(contains(error([&] { ids->encode("a"); }), "--tokens"));
  }
}

}  // namespace kvviz::test
