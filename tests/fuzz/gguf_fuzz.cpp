// SPDX-License-Identifier: MIT
#include <nlohmann/json.hpp>

#include "fuzz_target.hpp"
#include "kvviz/formats/gguf_model.hpp"
#include "kvviz/formats/quantised_blocks.hpp"

namespace {

using namespace kvviz;

void read_metadata(const GgufFile& file) {
  for (const auto& entry : file.metadata()) {
    const std::string& key = entry.first;
    test::survives([&] { file.integer(key); });
    test::survives([&] { file.number(key); });
    test::survives([&] { file.text(key); });
    test::survives([&] { file.boolean(key); });
    test::survives([&] { file.texts(key); });
    test::survives([&] { file.integers(key); });
    test::survives([&] { file.numbers(key); });
  }
}

void widen_all(const StoredTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    const std::vector<int64_t> shape = shape_in_file(tensor);
    if (tensor.bytes.empty() || shape.empty() || !can_widen(tensor.dtype)) continue;
    int64_t values = 1;  // no overflow: the reader has found bytes for all of them
    for (const int64_t size : shape) values *= size;
    std::vector<float> out(static_cast<size_t>(values));
    test::survives([&, &t = tensor] { widen_rows(t, 0, out); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return test::survives([&] {
    const GgufFile file = GgufFile::parse(test::as_bytes(data, size), "input.gguf");
    test::touch(file.tensors());
    read_metadata(file);
    test::survives([&] { gguf_config(file); });
    widen_all(gguf_tensors(file));
  });
}
