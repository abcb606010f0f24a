// SPDX-License-Identifier: MIT
#pragma once
#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <vector>

namespace kvviz::bench {

inline std::vector<float> normal_floats(int64_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(size));
  for (float& value : values) value = normal(random);
  return values;
}

/// Reports the rate of `flops` per iteration as the counter "flops".
inline void count_flops(benchmark::State& state, double flops) {
  state.counters["flops"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

/// Useful flops of one causal attention head: 2 products of 2 * head_dim flops per visible pair, pairs ~
/// tokens^2 / 2.
inline double causal_flops(int64_t heads, int64_t tokens, int64_t head_dim) {
  return 4.0 * static_cast<double>(heads * head_dim) * static_cast<double>(tokens * tokens) / 2;
}

}  // namespace kvviz::bench
