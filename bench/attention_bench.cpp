// SPDX-License-Identifier: MIT
#include "kvviz/kernels/attention.hpp"

#include <cmath>

#include "bench/bench_data.hpp"

namespace kvviz::bench {
namespace {

struct Heads {
  Heads(int64_t query_heads, int64_t kv_heads, int64_t queries, int64_t keys, int64_t dim)
      : q(normal_floats(query_heads * queries * dim, 1)),
        k(normal_floats(kv_heads * keys * dim, 2)),
        v(normal_floats(kv_heads * keys * dim, 3)),
        out(q.size()),
        problem{.query_heads = query_heads,
                .kv_heads = kv_heads,
                .head_dim = dim,
                .queries = queries,
                .keys = keys,
                .scale = 1 / std::sqrt(static_cast<float>(dim)),
                .q = {q.data(), queries * dim, dim},
                .k = {k.data(), keys * dim, dim},
                .v = {v.data(), keys * dim, dim},
                .out = {out.data(), queries * dim, dim}} {}
  std::vector<float> q, k, v, out;
  kernels::AttentionProblem problem;
};

kernels::AttentionRequest all_statistics() {
  return {.statistics = true, .map_bins = 64};
}

void run(benchmark::State& state, const Heads& heads, const kernels::AttentionRequest& request,
         double flops) {
  for (auto _ : state) benchmark::DoNotOptimize(kernels::attention(heads.problem, request));
  count_flops(state, flops);
}

// Arguments: heads, tokens, head_dim.
void attention_statistics(benchmark::State& state) {
  const Heads heads(state.range(0), state.range(0), state.range(1), state.range(1), state.range(2));
  run(state, heads, all_statistics(), causal_flops(state.range(0), state.range(1), state.range(2)));
}
BENCHMARK(attention_statistics)
    ->Args({12, 2048, 64})
    ->Args({12, 1024, 64})
    ->Args({12, 512, 64})
    ->Args({12, 128, 64})
    ->Args({2, 8192, 64})
    ->Args({8, 2048, 128})
    ->Args({8, 2048, 80})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void attention_output(benchmark::State& state) {
  const Heads heads(state.range(0), state.range(0), state.range(1), state.range(1), state.range(2));
  run(state, heads, {}, causal_flops(state.range(0), state.range(1), state.range(2)));
}
BENCHMARK(attention_output)
    ->Args({12, 2048, 64})
    ->Args({12, 512, 64})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// With ALiBi: one more pass over the logits.
void attention_alibi(benchmark::State& state) {
  Heads heads(state.range(0), state.range(0), state.range(1), state.range(1), state.range(2));
  const std::vector<float> slopes(static_cast<size_t>(state.range(0)), 0.01F);
  heads.problem.alibi_slopes = slopes;
  run(state, heads, {}, causal_flops(state.range(0), state.range(1), state.range(2)));
}
BENCHMARK(attention_alibi)->Args({12, 2048, 64})->UseRealTime()->Unit(benchmark::kMillisecond);

// Arguments: queries behind a cache of 4096 keys; 32 query heads on 8 KV heads of 64.
void attention_cached(benchmark::State& state) {
  const int64_t queries = state.range(0), keys = 4096;
  const Heads heads(32, 8, queries, keys, 64);
  run(state, heads, all_statistics(), 4.0 * 32 * 64 * static_cast<double>(queries * keys));
  state.counters["bytes"] =
      benchmark::Counter(2.0 * 8 * 64 * 4 * keys, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(attention_cached)
    ->Arg(1)
    ->Arg(4)
    ->Arg(8)
    ->Arg(16)
    ->Arg(64)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void attention_window(benchmark::State& state) {
  Heads heads(12, 12, 8192, 8192, 64);
  heads.problem.window = state.range(0);
  run(state, heads, all_statistics(), 4.0 * 12 * 64 * 8192.0 * static_cast<double>(state.range(0)));
}
BENCHMARK(attention_window)->Arg(256)->Arg(1024)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kvviz::bench
