// SPDX-License-Identifier: MIT
#include "kvviz/engine.hpp"

#include <dlfcn.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>

#include "kvviz/core/error.hpp"
#include "kvviz/paths.hpp"

namespace kvviz {
namespace {

void prepare_environment(int threads) {
  // Read once, when libgomp and OpenBLAS are loaded; a user's own settings stay.
  const unsigned int cpus = std::thread::hardware_concurrency();
  const auto workers = std::min(threads > 0 ? static_cast<unsigned int>(threads) : cpus, cpus);
  setenv("OMP_NUM_THREADS", std::to_string(workers).c_str(), 0);
  setenv("OMP_WAIT_POLICY", "passive", 0);
  setenv("OPENBLAS_NUM_THREADS", "1", 0);  // the pool of kernels/ shares out the products
  // Large tensors are reused in place of being given back to the kernel page by page.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2000000000);
  mallopt(M_TOP_PAD, 64 << 20);
}

template <class Options>
int call(const char* function, const Options& options) {
  prepare_environment(options.call.threads);
  const std::string file = engine_file().string();
  // Local scope: libtorch's protobuf and SentencePiece's own must never meet (docs/architecture.md).
  void* engine = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  require(engine != nullptr, "cannot load the engine: ", engine == nullptr ? dlerror() : "");
  const auto run = reinterpret_cast<int (*)(const Options&)>(dlsym(engine, function));
  require(run != nullptr, file, " is not this kvviz's engine: it lacks ", function);
  return run(options);
}

}  // namespace

int run_in_engine(const AnalyzeOptions& options) {
  return call("kvviz_analyze", options);
}
int run_in_engine(const SinksOptions& options) {
  return call("kvviz_sinks", options);
}
int run_in_engine(const SimulateOptions& options) {
  return call("kvviz_simulate", options);
}
int run_in_engine(const CompressOptions& options) {
  return call("kvviz_compress", options);
}
int run_in_engine(const PruneOptions& options) {
  return call("kvviz_prune", options);
}
int run_in_engine(const TuckerOptions& options) {
  return call("kvviz_tucker", options);
}
int run_in_engine(const ModelsInfoOptions& options) {
  return call("kvviz_models_info", options);
}

int run_in_engine(const ProfileOptions& options) {
  return call("kvviz_profile", options);
}
int run_in_engine(const GenerationOptions& options) {
  return call("kvviz_analyze_generation", options);
}
int run_in_engine(const SimilarityOptions& options) {
  return call("kvviz_analyze_similarity", options);
}
int run_in_engine(const CompareOptions& options) {
  return call("kvviz_compare", options);
}
int run_in_engine(const CaptureOptions& options) {
  return call("kvviz_capture", options);
}
int run_in_engine(const BuildFactsOptions& options) {
  return call("kvviz_build_facts", options);
}

}  // namespace kvviz
