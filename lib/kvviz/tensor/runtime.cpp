// SPDX-License-Identifier: MIT
#include "kvviz/tensor/runtime.hpp"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <thread>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 9)
#define KVVIZ_DEVICE_STATISTICS
#include <c10/core/CachingDeviceAllocator.h>
#endif

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

int64_t peak_cuda_bytes() {
#ifdef KVVIZ_DEVICE_STATISTICS
  if (!at::hasCUDA()) return 0;
  auto* const allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(at::kCUDA));
  if (allocator == nullptr || !allocator->initialized()) return 0;
  const auto statistics = allocator->getDeviceStats(0);
  return statistics.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
#else
  return 0;
#endif
}

}  // namespace kvviz
