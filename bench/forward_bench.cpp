// SPDX-License-Identifier: MIT
#include <ATen/ops/randn.h>

#include "bench/bench_data.hpp"
#include "bench/gpt2_small.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz::bench {
namespace {

constexpr int64_t longest = 2048;

const Decoder& decoder() {
  static const Decoder model = random_decoder(gpt2_small(longest));
  return model;
}

std::vector<int32_t> ids(int64_t tokens) {
  std::vector<int32_t> all(static_cast<size_t>(tokens));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i * 7919 % 50257);
  return all;
}

// What `kvviz analyze` does with a text: hidden states, cache, statistics of every head, NLL of every token.
void forward(benchmark::State& state) {
  set_threads(kernels::thread_count());
  const std::vector<int32_t> text = ids(state.range(0));
  const Session::Watch watch{.attention = {.statistics = true, .map_bins = 64},
                             .on_attention = [](int, std::vector<kernels::HeadAttention>) {}};
  decoder();
  for (auto _ : state) {
    Session session(decoder());
    const at::Tensor hidden = session.extend(text, watch);
    benchmark::DoNotOptimize(score(decoder(), hidden, text));
  }
  count_flops(state, forward_flops(decoder().config(), state.range(0)));
}
BENCHMARK(forward)->Arg(2048)->Arg(512)->UseRealTime()->Unit(benchmark::kMillisecond);

// The last step alone: head and NLL.
void scores(benchmark::State& state) {
  set_threads(kernels::thread_count());
  const std::vector<int32_t> text = ids(state.range(0));
  const at::Tensor hidden = at::randn({state.range(0), decoder().config().hidden});
  for (auto _ : state) benchmark::DoNotOptimize(score(decoder(), hidden, text));
  count_flops(state, 2.0 * 768 * 50257 * static_cast<double>(state.range(0)));
}
BENCHMARK(scores)->Arg(2048)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kvviz::bench
