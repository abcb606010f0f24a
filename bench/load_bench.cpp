// SPDX-License-Identifier: MIT
// Loading against reading: seconds of load_model() and of a plain read of the same files, warm, the best of
// five:
//   bench_load write FOLDER   writes a Llama of random weights: FOLDER/f32, 500 MB, and FOLDER/bf16; and a
//   small
//                             one with a large cache, FOLDER/deep: 28 layers, 8 KV heads of 128
//   bench_load MODEL ...      measures folders or .gguf files
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "kvviz/model/arch.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/safetensors.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz::bench {
namespace {

namespace fs = std::filesystem;

nlohmann::json llama(int64_t layers, int64_t heads, int64_t hidden, int64_t mlp, int64_t vocabulary) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", hidden},
          {"intermediate_size", mlp},
          {"num_hidden_layers", layers},
          {"num_attention_heads", heads},
          {"vocab_size", vocabulary},
          {"tie_word_embeddings", true}};
}

void write_model(const fs::path& folder, const nlohmann::json& json, at::ScalarType type) {
  const ModelConfig config = parse_config(json);
  ModelWeights weights;
  std::map<std::string, std::string> names;
  for (const WeightSource& source : weight_map(config)) names[source.ours] = source.theirs;
  std::map<std::string, at::Tensor> stored;
  for (const WeightSlot& slot : weight_slots(config, weights))
    stored[names.at(slot.name)] =
        (slot.shape.size() == 1 ? at::ones(slot.shape) : at::randn(slot.shape).mul_(0.02)).to(type);
  fs::create_directories(folder);
  std::ofstream(folder / "config.json") << json;
  write_safetensors(folder / "model.safetensors", stored, {});
}

void write_models(const fs::path& folder) {
  const nlohmann::json wide = llama(7, 16, 1024, 2816, 32000);
  write_model(folder / "f32", wide, at::kFloat);
  write_model(folder / "bf16", wide, at::kBFloat16);
  nlohmann::json deep = llama(28, 8, 64, 64, 512);
  deep["head_dim"] = 128;
  write_model(folder / "deep", deep, at::kFloat);
}

double best_of_five(const std::function<void()>& work) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void read_plainly(const std::vector<fs::path>& files) {
  std::vector<char> buffer(1 << 20);
  for (const fs::path& file : files) {
    const int descriptor = open(file.c_str(), O_RDONLY);
    while (read(descriptor, buffer.data(), buffer.size()) > 0) {
    }
    close(descriptor);
  }
}

void measure(const fs::path& model) {
  const std::vector<fs::path> files = load_model(model).files;
  double bytes = 0;
  for (const fs::path& file : files) bytes += static_cast<double>(fs::file_size(file));
  const double reading = best_of_five([&] { read_plainly(files); });
  const double loading = best_of_five([&] { load_model(model); });
  std::printf("%s: %.0f MB, read in %.3f s, loaded in %.3f s: %.2f x\n", model.c_str(), bytes / 1e6, reading,
              loading, loading / reading);
}

}  // namespace
}  // namespace kvviz::bench

int main(int argc, char** argv) {
  kvviz::set_threads(0);
  if (argc == 3 && std::strcmp(argv[1], "write") == 0) {
    kvviz::bench::write_models(argv[2]);
    return 0;
  }
  for (int i = 1; i < argc; ++i) kvviz::bench::measure(argv[i]);
  return argc > 1 ? 0 : 2;
}
