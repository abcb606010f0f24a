// SPDX-License-Identifier: MIT
#include "bench/bench_data.hpp"
#include "kvviz/kernels/gemm.hpp"

namespace kvviz::bench {
namespace {

// Arguments: rows, in, out. The bytes are those of the weights; several matrices take turns so that none of
// them stays in a cache when few rows use it.
void linear(benchmark::State& state) {
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const int64_t copies =
      rows <= kernels::few_rows ? std::max<int64_t>((int64_t{1} << 28) / (in * out * 4), 1) : 1;
  const std::vector<float> x = normal_floats(rows * in, 1), b = normal_floats(out, 3);
  const std::vector<float> w(static_cast<size_t>(in * out * copies), 0.5F);
  std::vector<float> y(static_cast<size_t>(rows * out));
  int64_t turn = 0;
  for (auto _ : state) {
    kernels::linear(x.data(), w.data() + turn * in * out, b.data(), y.data(), rows, in, out, out);
    turn = (turn + 1) % copies;
    benchmark::ClobberMemory();
  }
  count_flops(state, 2.0 * static_cast<double>(rows * in * out));
  state.counters["bytes"] =
      benchmark::Counter(4.0 * static_cast<double>(in * out), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(linear)
    ->Args({2048, 768, 768})
    ->Args({2048, 768, 2304})
    ->Args({2048, 768, 3072})
    ->Args({2048, 3072, 768})
    ->Args({512, 768, 768})
    ->Args({512, 768, 2304})
    ->Args({512, 3072, 768})
    ->Args({64, 768, 3072})
    ->Args({256, 768, 50257})
    ->Args({512, 288, 768})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(linear)
    ->Name("linear_few_rows")
    ->Args({1, 768, 3072})
    ->Args({1, 3072, 768})
    ->Args({4, 768, 3072})
    ->Args({8, 768, 3072})
    ->Args({9, 768, 3072})
    ->Args({16, 768, 3072})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

// The read bandwidth that few rows can hope for.
void memory_read(benchmark::State& state) {
  const int64_t in = 4096, out = 16384;
  const std::vector<float> x = normal_floats(in, 1), w(static_cast<size_t>(in * out), 0.5F);
  std::vector<float> y(static_cast<size_t>(out));
  for (auto _ : state) {
    kernels::linear(x.data(), w.data(), nullptr, y.data(), 1, in, out, out);
    benchmark::ClobberMemory();
  }
  state.counters["bytes"] =
      benchmark::Counter(4.0 * static_cast<double>(in * out), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(memory_read)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kvviz::bench
