// SPDX-License-Identifier: MIT
#include "kvviz/tensor/runtime.hpp"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz {

int set_threads(int threads) {
  require<UsageError>(threads >= 0, "--threads ", threads, ": expected 1 or more, or 0 for all CPUs");
  if (threads > 0) kernels::set_thread_count(threads);
  // OpenMP's workers wait for each other: more of them than CPUs make every operation of libtorch crawl.
  const int workers =
      std::min(kernels::thread_count(), static_cast<int>(std::thread::hardware_concurrency()));
  if (at::get_num_threads() != workers) at::set_num_threads(workers);
  return kernels::thread_count();
}

std::string dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "f32";
    case at::kHalf:
      return "f16";
    case at::kBFloat16:
      return "bf16";
    default:
      return c10::toString(type);
  }
}

at::ScalarType dtype_of(const std::string& name) {
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16})
    if (dtype_name(type) == name) return type;
  throw std::logic_error("no dtype: " + name);
}

at::Device device_of(const std::string& name) {
  const bool cuda = at::hasCUDA(), mps = at::hasMPS();
  if (name == "cpu" || (name == "auto" && !cuda && !mps)) return at::kCPU;
  if (cuda && (name == "cuda" || name == "auto")) return {at::kCUDA, 0};
  if (mps && (name == "mps" || name == "auto")) return at::kMPS;
  throw DataError(cat("--device ", name,
                      ": there is none, or this kvviz was built with a libtorch without it; here: ",
                      cuda ? "cuda, " : "", mps ? "mps, " : "", "cpu"));
}

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

}  // namespace kvviz
