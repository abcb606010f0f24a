// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <chrono>

#include "kvviz/kernels/thread_pool.hpp"

namespace {

// One task of 50 microseconds per thread: what is above 50 is the cost of waking the threads and of waiting
// for them.
void parallel_for_50us(benchmark::State& state) {
  using Clock = std::chrono::steady_clock;
  for (auto _ : state) {
    kvviz::kernels::parallel_for(kvviz::kernels::thread_count(), [](int64_t) {
      const auto end = Clock::now() + std::chrono::microseconds(50);
      while (Clock::now() < end) continue;
    });
  }
}
BENCHMARK(parallel_for_50us)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
