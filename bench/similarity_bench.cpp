// SPDX-License-Identifier: MIT
#include "kvviz/analysis/similarity.hpp"

#include <ATen/Functions.h>

#include <algorithm>

#include "bench/bench_data.hpp"

namespace kvviz::bench {
namespace {

// Everything that analyze_similarity computes from keys and values. Arguments: layers, KV heads, tokens,
// channels. The flops are those of the products of all pairs of heads, channels by channels, that CKA is
// defined by.
void similarity(benchmark::State& state) {
  const int64_t heads = state.range(1), tokens = state.range(2), channels = state.range(3);
  KvCache cache;
  for (int64_t l = 0; l < state.range(0); ++l) {
    LayerKv layer;
    for (at::Tensor* half : {&layer.key, &layer.value}) {
      *half = at::empty({heads, tokens, channels});
      std::ranges::copy(normal_floats(half->numel(), static_cast<unsigned>(cache.layers.size())),
                        half->data_ptr<float>());
    }
    cache.layers.push_back(layer);
  }
  for (auto _ : state) benchmark::DoNotOptimize(analysis::similarity(cache.view(), {}, {}));
  const auto all = static_cast<double>(state.range(0) * heads);
  const double product = 2.0 * static_cast<double>(tokens * channels * channels);
  count_flops(state, 2 * all * (all - 1) / 2 * product);
}
BENCHMARK(similarity)->Args({28, 8, 512, 128})->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kvviz::bench
