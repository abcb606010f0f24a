// SPDX-License-Identifier: MIT
#include "fuzz_target.hpp"
#include "kvviz/download/choose_files.hpp"
#include "kvviz/model/checkpoint.hpp"

namespace {

// A safetensors file of one number.
std::string shard(const std::string& tensor) {
  const std::string header = R"({")" + tensor + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  return static_cast<char>(header.size()) + std::string(7, '\0') + header + std::string(4, '\0');
}

}  // namespace

// An index of shards: as a model in a folder is opened, and as a download chooses its files.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  constexpr const char* name = "model.safetensors.index.json";
  static const std::vector<std::string> shards{"model-00001-of-00002.safetensors",
                                               "model-00002-of-00002.safetensors"};
  const std::string_view text = test::as_text(data, size);
  const test::TemporaryFolder folder;
  test::as_file(folder, shard("a"), shards[0]);
  test::as_file(folder, shard("b"), shards[1]);
  test::as_file(folder, text, name);
  test::survives([&] {
    for (const std::string& file : hub::shards_of(name, std::string(text), shards))
      test::expect(file == shards[0] || file == shards[1], "a shard that is not there");
  });
  return test::survives([&] {
    const Checkpoint checkpoint = Checkpoint::open(folder.path());
    test::touch(checkpoint.tensors());
  });
}
