// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/hub/model_name.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using namespace kvviz::hub;
using test::holds;
using test::message_of;

TEST_CASE("[hub] a model's name has an id, a revision and a GGUF file") {
  const ModelName plain = parse_model_name("gpt2");
  CHECK(plain.id == "gpt2");
  CHECK(plain.revision == "main");
  CHECK(plain.gguf.empty());
  const ModelName full = parse_model_name("a_b/C-d.1@refs/pr/3:dir/x.Q8_0.gguf");
  CHECK(full.id == "a_b/C-d.1");
  CHECK(full.revision == "refs/pr/3");
  CHECK(full.gguf == "dir/x.Q8_0.gguf");
  CHECK(parse_model_name("o/n:Q4_K_M").revision == "main");
}

TEST_CASE("[hub] what is no id or revision is refused") {
  for (const std::string bad :
       {"",     "a/b/c",        "/a",     "a/",     ".",       "..",   "a/..",   "../a",  "-a",
        "a-",   "a--b",         "a/b--c", "x..y",   "a b",     "a\\b", "a%2fb",  "a.git", "ä",
        "a\n",  "models--x--y", "a@",     "a@../b", "a@/b",    "a@b/", "a@b//c", "a@.b",  "a@b/.c",
        "a@-x", "a@x y",        "a@x~1",  "a@x\\y", "a@x@{1}", "a:"}) {
    CAPTURE(bad);
    CHECK_FALSE(is_model_name(bad));
    CHECK(message_of<UsageError>([&] { parse_model_name(bad); }).size() > 20);
  }
  CHECK_FALSE(is_model_name(std::string(97, 'a')));
  CHECK(is_model_name(std::string(96, 'a')));
  CHECK_FALSE(is_model_name("a@" + std::string(201, 'a')));
  CHECK(holds(message_of<UsageError>([] { check_revision("a..b"); }), "revision 'a..b'"));
}

TEST_CASE("[hub] an address is no name, and says which name is meant") {
  const std::pair<const char*, const char*> cases[] = {
      {"https://huggingface.co/gpt2", "name is gpt2"},
      {"http://www.huggingface.co/gpt2/tree/main", "name is gpt2"},
      {"huggingface.co/own/er", "name is own/er"},
      {"hf.co/own/er/", "name is own/er"},
      {"https://huggingface.co/own/er?library=x", "name is own/er"},
      {"https://huggingface.co/own/er/tree/v1.0", "name is own/er@v1.0"},
      {"https://hf.co/own/er/blob/main/er.Q8_0.gguf", "name is own/er:er.Q8_0.gguf"},
      {"https://huggingface.co/", "expected the model's id"},
      {"https://huggingface.co/datasets/own/er", "expected the model's id"},
      {"https://example.com/own/er", "expected the model's id"}};
  for (const auto& [address, name] : cases) {
    CAPTURE(address);
    CHECK_FALSE(is_model_name(address));
    const std::string message = message_of<UsageError>([&] { parse_model_name(address); });
    CHECK(holds(message, "is an address"));
    CHECK_MESSAGE(holds(message, name), message);
  }
}

TEST_CASE("[hub] folders of the cache and ids are the same thing spelt twice") {
  for (const std::string id : {"gpt2", "Qwen/Qwen2.5-0.5B", "a_/b"}) {
    CAPTURE(id);
    if (is_model_name(id)) CHECK(id_of_folder(folder_of_id(id)) == id);
  }
  CHECK(folder_of_id("Qwen/Qwen2.5-0.5B") == "models--Qwen--Qwen2.5-0.5B");
  for (const char* other : {"datasets--a--b", "models--", "models--a--b--c", ".locks", "models--..--x"})
    CHECK(id_of_folder(other).empty());
  CHECK(is_commit(std::string(40, 'a')));
  CHECK_FALSE(is_commit(std::string(40, 'A')));
  CHECK_FALSE(is_commit(std::string(39, 'a')));
}
