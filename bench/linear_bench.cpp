// SPDX-License-Identifier: MIT
#include <utility>

#include "bench/bench_data.hpp"
#include "kvviz/kernels/gemm.hpp"
#include "kvviz/kernels/thread_pool.hpp"

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

// The linear layers of GPT-2 small, one after the other as the decoder calls them.
struct Layers {
  Layers(kernels::WeightType weight_type, int64_t blocks) : type(weight_type) {
    for (int64_t i = 0; i < blocks; ++i) {
      for (const auto& [in, out] :
           {std::pair{768, 768}, {768, 768}, {768, 768}, {768, 768}, {768, 3072}, {3072, 768}})
        add(in, out);
    }
  }
  void run(const std::vector<float>& x, int64_t rows, std::vector<float>& y) const {
    for (const kernels::LinearWeights& w : weights) kernels::linear(w, x.data(), rows, y.data(), w.out);
  }
  double products() const {
    double sum = 0;
    for (const kernels::LinearWeights& w : weights) sum += static_cast<double>(w.in * w.out);
    return sum;
  }

  kernels::WeightType type;
  std::vector<std::vector<uint16_t>> memory;
  std::vector<kernels::LinearWeights> weights;
  std::vector<float> bias = normal_floats(3072, 3);

 private:
  void add(int64_t in, int64_t out) {
    const int64_t halves = in * out * kernels::bytes_of(type) / 2;
    // 0.5 in f16, in bf16, and, to within a few parts of a thousand, in f32.
    memory.emplace_back(static_cast<size_t>(halves), type == kernels::WeightType::f16 ? 0x3800 : 0x3f00);
    weights.push_back({memory.back().data(), type, in, out, bias.data()});
  }
};

void count_bytes(benchmark::State& state, const Layers& layers) {
  const auto products = static_cast<int64_t>(layers.products());
  state.SetBytesProcessed(state.iterations() * products * kernels::bytes_of(layers.type));
}

// Arguments: rows. Two blocks of layers, so that none is still in a cache from the last call.
void block_linears(benchmark::State& state, kernels::WeightType type) {
  const int64_t rows = state.range(0);
  const Layers layers(type, 2);
  const std::vector<float> x = normal_floats(rows * 3072, 1);
  std::vector<float> y(static_cast<size_t>(rows * 3072));
  for (auto _ : state) {
    layers.run(x, rows, y);
    benchmark::ClobberMemory();
  }
  count_flops(state, 2.0 * static_cast<double>(rows) * layers.products());
}
void lengths(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(512)->Arg(2048)->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(block_linears, f32, kernels::WeightType::f32)->Apply(lengths);
BENCHMARK_CAPTURE(block_linears, bf16, kernels::WeightType::bf16)->Apply(lengths);
BENCHMARK_CAPTURE(block_linears, f16, kernels::WeightType::f16)->Apply(lengths);

// One token through the 12 blocks: weights that no cache holds.
void decode_linears(benchmark::State& state, kernels::WeightType type) {
  const Layers layers(type, 12);
  const std::vector<float> x = normal_floats(3072, 1);
  std::vector<float> y(3072);
  for (auto _ : state) {
    layers.run(x, 1, y);
    benchmark::ClobberMemory();
  }
  count_bytes(state, layers);
}
BENCHMARK_CAPTURE(decode_linears, f32, kernels::WeightType::f32)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode_linears, bf16, kernels::WeightType::bf16)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode_linears, f16, kernels::WeightType::f16)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// What the memory gives to threads that only read the same weights.
void memory_read(benchmark::State& state) {
  const Layers layers(kernels::WeightType::f32, 12);
  constexpr int64_t piece = int64_t{1} << 18;
  std::vector<const uint64_t*> pieces;
  for (const std::vector<uint16_t>& weights : layers.memory) {
    for (int64_t at = 0; at < std::ssize(weights) * 2; at += piece)
      pieces.push_back(reinterpret_cast<const uint64_t*>(weights.data()) + at / 8);
  }
  std::vector<uint64_t> sums(pieces.size());
  for (auto _ : state) {
    kernels::parallel_for(std::ssize(pieces), [&](int64_t i) {
      uint64_t sum = 0;
      const uint64_t* const from = pieces[static_cast<size_t>(i)];
      for (int64_t w = 0; w < piece / 8; ++w) sum ^= from[w];
      sums[static_cast<size_t>(i)] = sum;
    });
    benchmark::DoNotOptimize(sums.data());
  }
  count_bytes(state, layers);
}
BENCHMARK(memory_read)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kvviz::bench
