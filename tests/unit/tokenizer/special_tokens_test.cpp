// SPDX-License-Identifier: MIT
// BOS, EOS, added tokens: what the files beside the vocabulary say.
#include <doctest/doctest.h>

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/tokenizer/tokenizer.hpp"
#include "unit/tokenizer/support.hpp"

namespace kvviz::test {
namespace {

using nlohmann::json;

std::unique_ptr<Tokenizer> with_config(const std::string& fixture, const std::string& file,
                                       const json& config) {
  const TempFolder folder;
  folder.link_all(fixtures() / fixture);
  folder.remove(file);
  folder.write_json(file, config);
  return open_tokenizer(folder.path());
}

}  // namespace

TEST_CASE("[special tokens] GPT-2 ends and begins with <|endoftext|> and adds nothing" *
          doctest::test_suite("refdata")) {
  for (const char* vocabulary : {"tokenizer.json", "vocab.json"}) {
    const TempFolder folder;
    folder.link(vocabulary, refdata() / "tokenizers" / "gpt2" / vocabulary);
    folder.link("merges.txt", refdata() / "tokenizers" / "gpt2" / "merges.txt");
    folder.write_json("config.json",
                      json{{"model_type", "gpt2"}, {"bos_token_id", 50256}, {"eos_token_id", 50256}});
    const auto tokenizer = open_tokenizer(folder.path());
    CHECK(tokenizer->vocabulary() == 50257);
    CHECK(tokenizer->bos() == 50256);
    CHECK(tokenizer->eos() == 50256);
    CHECK_FALSE(tokenizer->adds_bos());
    CHECK(tokenizer->piece(50256) == "<|endoftext|>");
    CHECK(tokenizer->decode({31373, 50256}) == "hello");
  }
}

TEST_CASE("[special tokens] Qwen2 adds nothing; config.json names a BOS for those who ask" *
          doctest::test_suite("refdata")) {
  const auto tokenizer = open_tokenizer(refdata() / "tokenizers" / "qwen2");
  CHECK(tokenizer->vocabulary() == 151646);
  CHECK(tokenizer->bos() == 151643);
  CHECK(tokenizer->eos() == 151645);
  CHECK_FALSE(tokenizer->adds_bos());
  CHECK(tokenizer->piece(151644) == "<|im_start|>");
  CHECK(tokenizer->piece(9707) == "Hello");
}

TEST_CASE("[special tokens] Llama adds a BOS, with tokenizer_config.json and without" *
          doctest::test_suite("refdata")) {
  const auto llama = open_tokenizer(refdata() / "tokenizers" / "llama2");
  CHECK(llama->bos() == 1);
  CHECK(llama->eos() == 2);
  CHECK(llama->adds_bos());
  CHECK_FALSE(
      with_config("sentencepiece-bpe", "tokenizer_config.json", {{"add_bos_token", false}})->adds_bos());
  CHECK(with_config("characters", "tokenizer_config.json", {{"tokenizer_class", "LlamaTokenizer"}})
            ->adds_bos());
  CHECK_FALSE(with_config("characters", "tokenizer_config.json", {{"tokenizer_class", "Other"}})->adds_bos());
}

TEST_CASE(
    "[special tokens] the post-processor of tokenizer.json adds a BOS, unless tokenizer_config.json forbids "
    "it") {
  const auto tokenizer = open_tokenizer(fixtures() / "bytes");
  CHECK(tokenizer->bos() == 0);
  CHECK(tokenizer->eos() == 1);
  CHECK(tokenizer->adds_bos());
  const auto without = with_config("bytes", "tokenizer_config.json", {{"add_bos_token", false}});
  CHECK_FALSE(without->adds_bos());
  CHECK(without->bos() == 0);
  CHECK(without->eos() == std::nullopt);
}

TEST_CASE("[special tokens] which classes follow add_bos_token and which the post-processor") {
  const auto adds = [](const json& config) {
    return with_config("bytes", "tokenizer_config.json", config)->adds_bos();
  };
  const json bos = {{"bos_token", "<|begin_of_text|>"}};
  const auto with = [&](const char* name, json more) {
    more.update(bos);
    more["tokenizer_class"] = name;
    return more;
  };
  // The file's own post-processor puts a BOS first; transformers lets only some classes overrule it.
  CHECK(adds(with("PreTrainedTokenizerFast", {{"add_bos_token", false}})));
  CHECK(adds(with("PreTrainedTokenizerFast", json::object())));
  CHECK_FALSE(adds(with("LlamaTokenizerFast", {{"add_bos_token", false}})));
  CHECK(adds(with("GemmaTokenizerFast", json::object())));
  CHECK_FALSE(adds(with("GPTNeoXTokenizerFast", json::object())));
  CHECK(adds(with("GPTNeoXTokenizerFast", {{"add_bos_token", true}})));
}

TEST_CASE("[special tokens] OPT: vocab.json + merges.txt, and </s> first") {
  const TempFolder folder;
  folder.link("merges.txt", fixtures() / "bytes-gpt2" / "merges.txt");
  json vocabulary = load_json(fixtures() / "bytes-gpt2" / "vocab.json");
  vocabulary["</s>"] = 500;
  folder.write_json("vocab.json", vocabulary);
  folder.write_json("tokenizer_config.json", json{{"tokenizer_class", "GPT2Tokenizer"},
                                                  {"add_bos_token", true},
                                                  {"bos_token", {{"content", "</s>"}}},
                                                  {"eos_token", {{"content", "</s>"}}}});
  const auto tokenizer = open_tokenizer(folder.path());
  CHECK(tokenizer->adds_bos());
  CHECK(tokenizer->bos() == 500);
  CHECK(tokenizer->eos() == 500);
  CHECK(tokenizer->encode("the") == open_tokenizer(fixtures() / "bytes-gpt2")->encode("the"));
}

TEST_CASE("[special tokens] what the post-processor adds besides a BOS is named and never added") {
  const auto with_processor = [](const json& processor) {
    json description = load_json(fixtures() / "bytes" / "tokenizer.json");
    description["post_processor"] = processor;
    const TempFolder folder;
    folder.write_json("tokenizer.json", description);
    return open_tokenizer(folder.path());
  };
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const auto mark = [](const char* name) { return json{{"SpecialToken", {{"id", name}, {"type_id", 0}}}}; };
  const json ids = {
      {"<|begin_of_text|>", {{"ids", {0}}}}, {"<|end_of_text|>", {{"ids", {1}}}}, {"two", {{"ids", {3, 4}}}}};
  const auto from = [&](const json& single) {
    return with_processor({{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", ids}});
  };
  const json bos = mark("<|begin_of_text|>");
  const json eos = mark("<|end_of_text|>");
  const auto framed = from({bos, text, eos});
  CHECK(framed->bos() == 0);
  CHECK(framed->adds_bos());
  CHECK(framed->left_out() == std::vector<std::string>{"<|end_of_text|>"});
  CHECK(framed->encode("the") == open_tokenizer(fixtures() / "bytes")->encode("the"));
  const auto bare = from({text, eos});
  CHECK_FALSE(bare->adds_bos());
  CHECK(bare->left_out().size() == 1);
  const auto pair = with_processor(
      {{"type", "RobertaProcessing"}, {"sep", {"<|end_of_text|>", 1}}, {"cls", {"<|begin_of_text|>", 0}}});
  CHECK(pair->bos() == 0);
  CHECK(pair->adds_bos());
  CHECK(pair->left_out() == std::vector<std::string>{"<|end_of_text|>"});
  const json bytes = {{"type", "ByteLevel"}};
  const json whole = {{"type", "TemplateProcessing"}, {"single", {bos, text}}, {"special_tokens", ids}};
  CHECK(with_processor({{"type", "Sequence"}, {"processors", {bytes, whole}}})->adds_bos());
  CHECK_FALSE(with_processor(bytes)->adds_bos());

  const auto error = [&](const json& single) { return error_of<DataError>([&] { from(single); }); };
  CHECK(contains(error({bos, eos, text}), "'<|begin_of_text|>' and '<|end_of_text|>' before the text"));
  CHECK(contains(error(json::array({bos})), "without the text"));
  CHECK(contains(error({text, text}), "twice"));
  CHECK(contains(error({mark("three"), text}), "'three'"));
  CHECK(contains(error({mark("two"), text}), "one id"));
  CHECK(contains(error_of<DataError>([&] {
                   with_processor({{"type", "Sequence"}, {"processors", {whole, whole}}});
                 }),
                 "two steps"));
}

TEST_CASE(
    "[special tokens] tokenizer_config.json adds tokens and makes them special, and may put a space first") {
  const json token = {{"content", "<more>"}, {"special", false}};
  const json tool = {{"content", "<tool>"}, {"special", true}};
  const json config = {{"added_tokens_decoder", {{"720", token}, {"700", tool}}}};
  const auto tokenizer = with_config("bytes", "tokenizer_config.json", config);
  CHECK(tokenizer->encode("<more>") == std::vector<int32_t>{720});
  CHECK(tokenizer->encode("<tool>").size() > 1);
  json description = load_json(fixtures() / "bytes" / "tokenizer.json");
  description["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  const TempFolder folder;
  folder.write_json("tokenizer.json", description);
  folder.write_json("tokenizer_config.json", json{{"add_prefix_space", true}});
  CHECK(open_tokenizer(folder.path())->decode(open_tokenizer(folder.path())->encode("x")) == " x");
}

TEST_CASE("[special tokens] tokenizer_config.json goes before special_tokens_map.json before config.json") {
  const TempFolder folder;
  folder.link("tokenizer.json", fixtures() / "bytes" / "tokenizer.json");
  folder.write_json("config.json", json{{"bos_token_id", 7}, {"eos_token_id", {8, 9}}});
  CHECK(open_tokenizer(folder.path())->eos() == 8);
  CHECK(open_tokenizer(folder.path())->bos() == 0);  // the post-processor's
  folder.write_json("special_tokens_map.json", json{{"eos_token", {{"content", "<|end_of_text|>"}}}});
  CHECK(open_tokenizer(folder.path())->eos() == 1);
  folder.write_json("tokenizer_config.json", json{{"eos_token", "!"}, {"bos_token", nullptr}});
  CHECK(open_tokenizer(folder.path())->piece(open_tokenizer(folder.path())->eos().value()) == "!");
  folder.write_json("tokenizer_config.json", json{{"eos_token", "<not there>"}});
  CHECK(open_tokenizer(folder.path())->eos() == 8);
}

TEST_CASE("[special tokens] a BOS that is added but does not exist is an error") {
  const TempFolder folder;
  folder.link("tokenizer.model", fixtures() / "sentencepiece-bpe" / "tokenizer.model");
  folder.write_json("tokenizer_config.json", json{{"add_bos_token", true}});
  CHECK(open_tokenizer(folder.path())->adds_bos());
  const TempFolder none;
  json description = load_json(fixtures() / "bytes" / "tokenizer.json");
  description["post_processor"] = nullptr;
  none.write_json("tokenizer.json", description);
  none.write_json("tokenizer_config.json", json{{"add_bos_token", true}});
  CHECK(contains(error_of<DataError>([&] { open_tokenizer(none.path()); }), "add_bos_token"));
}

TEST_CASE("[special tokens] special tokens written in a text are text, other added tokens are found") {
  const auto tokenizer = open_tokenizer(fixtures() / "bytes");
  const std::vector<int32_t> special = tokenizer->encode("<|begin_of_text|>");
  CHECK(special.size() > 1);
  CHECK(tokenizer->decode(special) == "<|begin_of_text|>");
  const std::vector<int32_t> tool = tokenizer->encode("<tool>");
  REQUIRE(tool.size() == 1);
  CHECK(tokenizer->piece(tool.front()) == "<tool>");
  CHECK(tokenizer->decode({0, tool.front(), 1}) == "<tool>");
}

TEST_CASE("[special tokens] pieces show bytes that are no text in hexadecimal" *
          doctest::test_suite("refdata")) {
  const auto tokenizer = open_tokenizer(refdata() / "tokenizers" / "gpt2");
  CHECK(tokenizer->piece(995) == " world");
  CHECK(tokenizer->piece(198) == "\n");
  CHECK(tokenizer->piece(162) == "<0xE6>");
  CHECK(tokenizer->piece(21410) == "\xE7\x9A\x84");
  CHECK(tokenizer->piece(2343) == " <0xE2>");
  CHECK(tokenizer->piece(60000) == "<id 60000>");
  CHECK(tokenizer->decode({60000}).empty());
}

TEST_CASE("[special tokens] the hash follows the files") {
  const TempFolder folder;
  folder.link("tokenizer.json", fixtures() / "bytes" / "tokenizer.json");
  const std::string plain = open_tokenizer(folder.path())->hash();
  CHECK(plain.size() == 64);
  CHECK(open_tokenizer(folder.path())->hash() == plain);
  folder.write_json("config.json", json::object());
  CHECK(open_tokenizer(folder.path())->hash() == plain);
  folder.write_json("tokenizer_config.json", json{{"eos_token", "!"}});
  CHECK(open_tokenizer(folder.path())->hash() != plain);
}

}  // namespace kvviz::test
