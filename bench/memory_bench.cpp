// SPDX-License-Identifier: MIT
// Memory of loading a model and of running it with statistics and NLL, on a GPT-2 small of random weights:
//   bench_memory write FOLDER      writes config.json and 500 MB of model.safetensors, f32
//   bench_memory FOLDER [TOKENS]   loads them in a process of its own, runs TOKENS tokens (default 8192)
// "mapped" are pages of the checkpoint, which the system can drop; "own" is what this process allocated.
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kvviz/eval/score.hpp"
#include "kvviz/model/arch.hpp"
#include "kvviz/model/load.hpp"
#include "kvviz/model/safetensors.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz::bench {
namespace {

constexpr int64_t context = 8192;

void write_model(const std::filesystem::path& folder) {
  const nlohmann::json json = {{"architectures", {"GPT2LMHeadModel"}},
                               {"model_type", "gpt2"},
                               {"n_embd", 768},
                               {"n_layer", 12},
                               {"n_head", 12},
                               {"n_positions", context},
                               {"vocab_size", 50257}};
  const ModelConfig config = parse_config(json);
  ModelWeights weights;
  std::map<std::string, WeightSource> sources;
  for (const WeightSource& source : weight_map(config)) sources[source.ours] = source;
  std::map<std::string, at::Tensor> stored;
  for (const WeightSlot& slot : weight_slots(config, weights)) {
    const WeightSource& source = sources.at(slot.name);
    if (stored.contains(source.theirs)) continue;  // another slice of the same tensor
    std::vector<int64_t> shape = slot.shape;
    if (source.stored_rows > 0) shape.front() = source.stored_rows;
    if (source.transposed) std::reverse(shape.begin(), shape.end());
    const bool norm = slot.name.find("norm") != std::string::npos;
    stored[source.theirs] = norm ? at::ones(shape) : at::randn(shape).mul_(0.02);
  }
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << json;
  write_safetensors(folder / "model.safetensors", stored, {});
}

double mega(double bytes) {
  return bytes / 1e6;
}

// A field of /proc/self/status, in MB.
double status(const std::string& field) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(field + ':'))
      return mega(1024 * std::strtod(line.c_str() + field.size() + 1, nullptr));
  return 0;
}

void print(const char* moment) {
  std::printf("%-22s own %6.0f MB, mapped %6.0f MB, peak of both %6.0f MB\n", moment, status("RssAnon"),
              status("RssFile"), status("VmHWM"));
}

void measure(const std::filesystem::path& folder, int64_t tokens) {
  set_threads(0);
  print("before");
  const LoadedModel model = load_model(folder);
  print("model loaded");
  const ModelConfig& config = model.decoder.config();
  const auto count = static_cast<double>(tokens);
  std::printf(
      "weights %.0f MB; cache of %lld tokens %.0f MB; tokens x tokens %.0f MB; tokens x vocabulary %.0f MB\n",
      mega(4.0 * static_cast<double>(config.parameters())), static_cast<long long>(tokens),
      mega(count * static_cast<double>(config.cache_bytes_per_token(4))), mega(4 * count * count),
      mega(4 * count * static_cast<double>(config.vocabulary)));
  const std::vector<int32_t> ids(static_cast<size_t>(tokens), 11);
  Session session(model.decoder);
  const at::Tensor hidden =
      session.extend(ids, {.attention = {.statistics = true, .map_bins = 64},
                           .on_attention = [](int, std::vector<kernels::HeadAttention>) {}});
  print("forward done");
  score(model.decoder, hidden, ids);
  print("scores done");
}

}  // namespace
}  // namespace kvviz::bench

int main(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2000000000);
  mallopt(M_TOP_PAD, 64 << 20);
  if (argc == 3 && std::strcmp(argv[1], "write") == 0) {
    kvviz::bench::write_model(argv[2]);
  } else if (argc == 2 || argc == 3) {
    kvviz::bench::measure(argv[1], argc == 3 ? std::atoi(argv[2]) : kvviz::bench::context);
  } else {
    std::fputs("usage: bench_memory write FOLDER | bench_memory FOLDER [TOKENS]\n", stderr);
    return 2;
  }
  return 0;
}
