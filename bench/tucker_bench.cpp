// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"
#include "kvviz/stats/tucker.hpp"

namespace kvviz::bench {
namespace {

constexpr int64_t heads = 8, tokens = 2048, channels = 128;
constexpr stats::Ranks ranks{8, 32, 32};

/// Uniform in [-0.5, 0.5): the upper 24 bits of splitmix64, so that bench/tucker_peer makes the same numbers.
std::vector<float> noise(int64_t size, uint64_t seed) {
  std::vector<float> values;
  values.reserve(static_cast<size_t>(size));
  for (uint64_t n = 0; std::cmp_less(n, size); ++n) {
    uint64_t z = (seed << 32) + (n + 1) * 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    values.push_back(static_cast<float>((z ^ (z >> 31)) >> 40) * 0x1p-24F - 0.5F);
  }
  return values;
}

double norm(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  return std::sqrt(sum);
}

/// Of the ranks that are asked for, and 0.3 of its norm in noise.
std::vector<float> low_rank(uint64_t seed) {
  stats::Tucker t{.ranks = ranks, .heads = heads, .tokens = tokens, .channels = channels};
  t.core = noise(ranks.heads * ranks.tokens * ranks.channels, seed + 1);
  t.factors = {noise(heads * ranks.heads, seed + 2), noise(tokens * ranks.tokens, seed + 3),
               noise(channels * ranks.channels, seed + 4)};
  std::vector<float> x = stats::reconstruct(t);
  const std::vector<float> rest = noise(std::ssize(x), seed + 5);
  const auto scale = static_cast<float>(0.3 * norm(x) / norm(rest));
  for (size_t i = 0; i < x.size(); ++i) x[i] += scale * rest[i];
  return x;
}

enum class Data { noise, low_rank };

std::vector<float> data(Data kind, uint64_t seed) {
  return kind == Data::noise ? noise(heads * tokens * channels, seed) : low_rank(seed);
}

void tucker(benchmark::State& state, Data kind) {
  const std::vector<float> x = data(kind, 1);
  const stats::SerialBlas serial;
  stats::Tucker result;
  for (auto _ : state) result = stats::tucker({x.data(), heads, tokens, channels}, {.ranks = ranks});
  state.counters["error"] = result.error;
  state.counters["sweeps"] = result.sweeps;
}
BENCHMARK_CAPTURE(tucker, noise, Data::noise)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(tucker, low_rank, Data::low_rank)->UseRealTime()->Unit(benchmark::kMillisecond);

// Keys and values of 28 layers, one after the other or spread over the threads. Eight tensors take turns.
void tucker_model(benchmark::State& state, bool parallel) {
  constexpr int64_t count = 2 * 28;
  std::vector<std::vector<float>> tensors;
  for (uint64_t i = 0; i < 8; ++i) tensors.push_back(data(i % 2 == 0 ? Data::noise : Data::low_rank, 10 * i));
  const auto one = [&](int64_t i) {
    const std::vector<float>& x = tensors[static_cast<size_t>(i % 8)];
    benchmark::DoNotOptimize(stats::tucker({x.data(), heads, tokens, channels}, {.ranks = ranks}).error);
  };
  const stats::SerialBlas serial;
  for (auto _ : state) {
    if (parallel) {
      kernels::parallel_for(count, one);
    } else {
      for (int64_t i = 0; i < count; ++i) one(i);
    }
  }
}
BENCHMARK_CAPTURE(tucker_model, serial, false)->UseRealTime()->Unit(benchmark::kSecond)->Iterations(1);
BENCHMARK_CAPTURE(tucker_model, parallel, true)->UseRealTime()->Unit(benchmark::kSecond)->Iterations(1);

}  // namespace
}  // namespace kvviz::bench
