// SPDX-License-Identifier: MIT
#include <cblas.h>

#include "bench/bench_data.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz::bench {
namespace {

// The yardstick: OpenBLAS with its own threads, C = A B^T of n x n.
void sgemm(benchmark::State& state) {
  const auto n = static_cast<blasint>(state.range(0));
  const std::vector<float> a = normal_floats(n * n, 1), b = normal_floats(n * n, 2);
  std::vector<float> c(a.size());
  openblas_set_num_threads(kernels::thread_count());
  for (auto _ : state) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1.0F, a.data(), n, b.data(), n, 0.0F,
                c.data(), n);
    benchmark::ClobberMemory();
  }
  openblas_set_num_threads(1);
  count_flops(state, 2.0 * n * n * n);
}
BENCHMARK(sgemm)->Arg(1024)->Arg(2048)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kvviz::bench
