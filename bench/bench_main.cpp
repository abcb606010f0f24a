// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <cstdlib>

#include "kvviz/kernels/thread_pool.hpp"

// Threads: KVVIZ_BENCH_THREADS, else all CPUs of the process.
int main(int argc, char** argv) {
  // As the kvviz executable does: large tensors stay with the process instead of being mapped anew each time.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2000000000);
  mallopt(M_TOP_PAD, 64 << 20);
  if (const char* threads = std::getenv("KVVIZ_BENCH_THREADS"))
    kvviz::kernels::set_thread_count(std::atoi(threads));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("threads", std::to_string(kvviz::kernels::thread_count()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
