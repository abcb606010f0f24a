// SPDX-License-Identifier: MIT
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>

#include "bench/bench_data.hpp"
#include "bench/gpt2_small.hpp"
#include "kvviz/eval/evicting_session.hpp"
#include "kvviz/eval/score.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/tensor/runtime.hpp"

// All count the flops of a plain forward pass a token, so that the ratio of two rates is the ratio of their
// times for one text.

namespace kvviz::bench {
namespace {

constexpr int64_t tokens = 2048, steps = 8;

const Decoder& decoder() {
  static const Decoder model = random_decoder(gpt2_small(tokens));
  return model;
}

std::vector<int32_t> ids(int64_t count) {
  std::vector<int32_t> all(static_cast<size_t>(count));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i * 7919 % 50257);
  return all;
}

double plain_flops(int64_t of_tokens) {
  return forward_flops(decoder().config(), tokens) * static_cast<double>(of_tokens) / tokens;
}

Simulation simulation(const char* policy, int64_t budget) {
  return {policy::find_policy(policy), policy::parse_budget(std::to_string(budget))};
}

void plain_forward(benchmark::State& state) {
  set_threads(kernels::thread_count());
  const std::vector<int32_t> text = ids(tokens);
  decoder();
  for (auto _ : state) {
    Session session(decoder());
    benchmark::DoNotOptimize(score(decoder(), session.extend(text), text));
  }
  count_flops(state, plain_flops(tokens));
}
BENCHMARK(plain_forward)->UseRealTime()->Unit(benchmark::kMillisecond);

// One policy alone, its NLL included.
void one_policy(benchmark::State& state, const char* policy) {
  set_threads(kernels::thread_count());
  const std::vector<int32_t> text = ids(tokens);
  decoder();
  for (auto _ : state) {
    EvictingSession session(decoder(), simulation(policy, state.range(0)), {}, tokens);
    benchmark::DoNotOptimize(score(decoder(), session.extend(text), text));
  }
  count_flops(state, plain_flops(tokens));
}
BENCHMARK_CAPTURE(one_policy, window, "window")->Arg(512)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(one_policy, h2o, "h2o")->Arg(128)->Arg(512)->UseRealTime()->Unit(benchmark::kMillisecond);

// What `kvviz simulate` does: policies beside the full cache, with recall, bound and error of every head.
void simulations(benchmark::State& state) {
  set_threads(kernels::thread_count());
  const std::vector<int32_t> text = ids(tokens);
  const std::vector<Simulation> all(static_cast<size_t>(state.range(0)), simulation("h2o", 512));
  decoder();
  for (auto _ : state) {
    const SimulationResult result = simulate(decoder(), text, all, {.compare = state.range(1) != 0});
    benchmark::DoNotOptimize(score(decoder(), result.full, text));
    for (const SimulatedText& run : result.texts)
      benchmark::DoNotOptimize(score(decoder(), run.hidden, text));
  }
  count_flops(state, plain_flops(tokens));
}
BENCHMARK(simulations)->Args({4, 0})->Args({4, 1})->UseRealTime()->Unit(benchmark::kMillisecond);

// The same policy token by token, with the matrix-vector products that decoding uses.
void token_loop(benchmark::State& state) {
  set_threads(kernels::thread_count());
  const std::vector<int32_t> text = ids(tokens);
  EvictingSession session(decoder(), simulation("h2o", 512), {}, tokens);
  session.extend(std::span(text).first(1024));
  const std::vector<int32_t> next = ids(1);
  for (auto _ : state)
    for (int64_t i = 0; i < steps; ++i) benchmark::DoNotOptimize(decoder().logits(session.extend(next)));
  count_flops(state, plain_flops(steps));
}
BENCHMARK(token_loop)->Iterations(4)->UseRealTime()->Unit(benchmark::kMillisecond);

// The least that the loop costs with libtorch's linear layers: these layers alone.
void token_loop_libtorch_linears(benchmark::State& state) {
  set_threads(kernels::thread_count());
  const at::NoGradGuard no_grad;
  std::vector<std::pair<at::Tensor, at::Tensor>> layers;
  for (int64_t layer = 0; layer < 12; ++layer)
    for (const auto& [in, out] : {std::pair{768, 2304}, {768, 768}, {768, 3072}, {3072, 768}})
      layers.emplace_back(at::randn({1, in}), at::randn({out, in}));
  layers.emplace_back(at::randn({1, 768}), at::randn({50257, 768}));
  for (auto _ : state)
    for (int64_t i = 0; i < steps; ++i)
      for (const auto& [x, weight] : layers) benchmark::DoNotOptimize(at::linear(x, weight));
  count_flops(state, plain_flops(steps));
}
BENCHMARK(token_loop_libtorch_linears)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kvviz::bench
