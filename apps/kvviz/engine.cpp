// SPDX-License-Identifier: MIT
#include "kvviz/engine.hpp"

#include <dlfcn.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/free_memory.hpp"
#include "kvviz/core/interrupt.hpp"
#include "kvviz/paths.hpp"

namespace kvviz {
namespace {

int cpus() {
  return std::max(static_cast<int>(std::thread::hardware_concurrency()), 1);
}

void prepare_environment(int threads) {
  // Read once, when libgomp and OpenBLAS are loaded; a user's own settings stay.
  const int workers = std::min(threads, cpus());
  setenv("OMP_NUM_THREADS", std::to_string(workers).c_str(), 0);
  setenv("OMP_WAIT_POLICY", "passive", 0);
  setenv("OPENBLAS_NUM_THREADS", "1", 0);  // the pool of kernels/ shares out the products
  // Large tensors are reused in place of being given back to the kernel page by page.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2000000000);
  mallopt(M_TOP_PAD, 64 << 20);
  // Each further arena would reserve 64 MiB of addresses.
  if (has_address_limit()) mallopt(M_ARENA_MAX, 1);
}

std::string size(int64_t bytes) {
  return size_text(static_cast<double>(bytes));
}

// The engine's libraries take more than half a gigabyte of addresses.
std::string little_memory_text() {
  constexpr int64_t little = 1'000'000'000;
  const FreeMemory free = free_memory();
  if (free.bytes >= little) return {};
  return cat("; ", free.limit, " leaves ", size(free.bytes), ", and the engine needs about ", size(little));
}

void require_addresses(int threads) {
  const FreeMemory free = free_memory();
  const int64_t needed = addresses_of_threads(threads);
  const std::string fewer =
      threads > 1 ? cat("; --threads 1 needs ", size(addresses_of_threads(1))) : std::string();
  require(free.bytes >= needed, threads, threads == 1 ? " thread needs" : " threads need", " about ",
          size(needed), " beside the model; ", free.limit, " leaves ", size(free.bytes), fewer);
}

// No command ends by exit(): a library that calls it has given up, and its destructors would run beneath the
// threads that still compute.
void on_exit_of_a_library() {
  try {
    end_process(1, "a library gave up: " + no_memory_text());
  } catch (...) {
    end_process(1, {});
  }
}

// Opened one by one from the bottom up, each looks for its symbols among the few libraries that it needs.
// Left to the engine, all look among all: libtorch as Debian builds it brings 289, and that takes a quarter
// of the start. One that is not there, or cannot be opened alone, comes with those that need it.
void open_libraries(std::filesystem::path engine) {
  std::ifstream list(engine.replace_extension(".libraries"));
  for (std::string file; std::getline(list, file);) dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
}

template <class Options>
int call(const char* function, const Options& options) {
  const int threads = options.call.threads > 0 ? options.call.threads : cpus();
  prepare_environment(threads);
  const std::string file = engine_file().string();
  open_libraries(file);
  // Local scope: libtorch's protobuf and SentencePiece's own must never meet (docs/architecture.md).
  void* engine = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  require(engine != nullptr, "cannot load the engine: ", engine == nullptr ? dlerror() : "",
          little_memory_text());
  share_interrupts(engine);
  std::atexit(on_exit_of_a_library);
  if (has_address_limit()) require_addresses(threads);
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
int run_in_engine(const ServeOptions& options) {
  return call("kvviz_serve", options);
}
int run_in_engine(const BuildFactsOptions& options) {
  return call("kvviz_build_facts", options);
}

}  // namespace kvviz
