// SPDX-License-Identifier: MIT
#include "kvviz/formats/gguf_model.hpp"

#include <nlohmann/json.hpp>

#include "fuzz_target.hpp"
#include "model_use.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvviz;
  return test::survives([&] {
    const GgufFile file = GgufFile::parse(test::as_bytes(data, size), "input.gguf");
    const ModelConfig config = parse_config(gguf_config(file));
    test::use(config);
    const StoredTensors tensors = gguf_tensors(file);
    for (const WeightSource& source : weight_map(config)) tensors.find(source.theirs);
  });
}
