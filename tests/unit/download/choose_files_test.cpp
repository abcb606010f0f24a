// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/download/choose_files.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using namespace kvviz::hub;
using test::holds;
using test::message_of;
using Files = std::vector<std::string>;

TEST_CASE("[download] only what kvviz needs of a repository is chosen") {
  const Files files = {".gitattributes",         "README.md",         "config.json",
                       "generation_config.json", "model.safetensors", "onnx/model.onnx",
                       "pytorch_model.bin",      "tf_model.h5",       "tokenizer.json",
                       "tokenizer_config.json",  "vocab.json",        "merges.txt"};
  const FileChoice choice = choose_files(files, {});
  CHECK(choice.weights == "safetensors");
  CHECK(choice.index.empty());
  CHECK(choice.files == Files{"config.json", "generation_config.json", "tokenizer.json", "vocab.json",
                              "merges.txt", "tokenizer_config.json", "model.safetensors"});
  CHECK(choose_files(files, {.weights = false}).files.size() == 6);
}

TEST_CASE("[download] weights in the order safetensors, its shards, PyTorch, its shards, GGUF") {
  const auto weights = [](Files files) {
    files.push_back("config.json");
    return choose_files(files, {});
  };
  const std::string index = "model.safetensors.index.json", bin = "pytorch_model.bin";
  CHECK(weights({index, bin}).index == index);
  CHECK(weights({index, bin}).weights == "safetensors");
  CHECK(weights({bin, bin + ".index.json", "a.gguf"}).files.back() == bin);
  CHECK(weights({bin + ".index.json"}).index == bin + ".index.json");
  CHECK(weights({"a.gguf"}).files == Files{"a.gguf"});
  CHECK(choose_files({"config.json", "model.safetensors", "a-Q8_0.gguf", "a-Q4_0.gguf"},
                     {.gguf = true, .wanted = "q8_0"})
            .files == Files{"a-Q8_0.gguf"});
}

TEST_CASE("[download] of a GGUF model in parts all are chosen") {
  const Files parts = {"q/a-Q8_0-00001-of-00002.gguf", "q/a-Q8_0-00002-of-00002.gguf"};
  Files files = parts;
  CHECK(choose_files(files, {}).files == parts);
  files.push_back("a-Q4_0.gguf");
  CHECK(choose_files(files, {.gguf = true, .wanted = "q8_0"}).files == parts);
  files.erase(files.begin() + 1);
  CHECK(holds(message_of<DataError>([&] { choose_files(files, {.gguf = true, .wanted = "q8_0"}); }),
              "the repository lacks q/a-Q8_0-00002-of-00002.gguf"));
}

TEST_CASE("[download] a repository without a model is refused with the reason") {
  CHECK(holds(message_of<DataError>([] {
                choose_files({"config.json", "tf_model.h5"}, {});
              }),
              "no weights that kvviz reads"));
  CHECK(holds(message_of<DataError>([] {
                choose_files({"config.json", "adapter_config.json", "adapter_model.safetensors"}, {});
              }),
              "it holds an adapter"));
  CHECK(holds(message_of<DataError>([] { choose_files({"model.safetensors"}, {}); }), "no config.json"));
  const auto several = message_of<UsageError>([] { choose_files({"a-Q8_0.gguf", "a-Q4_0.gguf"}, {}); });
  CHECK(holds(several, "a-Q4_0.gguf, a-Q8_0.gguf"));
  CHECK(holds(several, "--gguf FILE"));
}

TEST_CASE("[download] the shards of an index, each once; a damaged index is refused") {
  const Files files = {"a-1.safetensors", "a-2.safetensors"};
  CHECK(
      shards_of("i",
                R"({"weight_map": {"x": "a-2.safetensors", "y": "a-1.safetensors", "z": "a-2.safetensors"}})",
                files) == files);
  for (const char* bad : {"", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {}})",
                          R"({"weight_map": {"x": 1}})", R"({"weight_map": {"x": "../../b"}})",
                          R"({"weight_map": {"x": "a-3.safetensors"}})", "{\"weight_map\""}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(shards_of("i", bad, files), DataError);
  }
}
