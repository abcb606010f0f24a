// SPDX-License-Identifier: MIT
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <cblas.h>

#include <cmath>

#include "bench/bench_data.hpp"
#include "kvviz/attention/device_attention.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz::bench {
namespace {

/// Causal attention and its statistics by whole S x S tensors, tuned: buffers are allocated once, products go
/// to BLAS wherever one can express a sum, and results are written in place.
class DenseAttention {
 public:
  DenseAttention(int64_t heads, int64_t tokens, int64_t dim)
      : q_(at::randn({heads, tokens, dim})),
        k_(at::randn({heads, tokens, dim})),
        v_(at::randn({heads, tokens, dim})),
        mask_(at::full({tokens, tokens}, -1e30F).triu_(1)),
        logits_(at::empty({heads, tokens, tokens})),
        weights_(at::empty_like(logits_)),
        scratch_(at::empty_like(logits_)),
        columns_(at::zeros({tokens, 3})),
        sampled_(at::arange(32, at::kLong).mul_(2).add_(1).mul_(tokens).div_(64, "floor")) {
    columns_.select(1, 0).copy_(at::arange(tokens, at::kFloat));
    columns_.select(1, 1).narrow(0, 0, 4).fill_(1);
    columns_.select(1, 2).narrow(0, 0, 1).fill_(1);
  }

  at::Tensor run() {
    const int64_t heads = q_.size(0), tokens = q_.size(1), dim = q_.size(2), bins = 64;
    at::baddbmm_out(logits_, mask_, q_, k_.transpose(1, 2), 1, 1 / std::sqrt(static_cast<double>(dim)));
    at::softmax_out(weights_, logits_, -1);
    at::Tensor out = at::bmm(weights_, v_);
    // Sums over keys: distance, first keys, first key.
    at::Tensor sums = at::matmul(weights_, columns_);
    at::Tensor key_mass = at::sum(weights_, 1);
    at::Tensor recent = at::sum(weights_.narrow(1, tokens - 64, 64), 1);
    at::Tensor map = at::sum(weights_.view({heads, bins, tokens / bins, bins, tokens / bins}), {2, 4});
    at::Tensor top = at::amax(weights_, -1, true);
    at::Tensor small = at::sum(at::lt(weights_, top.mul_(0.01)), -1);
    at::Tensor entropy = at::sum(at::xlogy_out(scratch_, weights_, weights_), -1).neg_();
    at::Tensor sorted = std::get<0>(at::sort(weights_.index_select(1, sampled_), -1, true)).cumsum_(-1);
    return out;
  }

 private:
  at::Tensor q_, k_, v_, mask_, logits_, weights_, scratch_, columns_, sampled_;
};

// Arguments: heads, tokens, head_dim.
void dense_attention(benchmark::State& state) {
  const c10::InferenceMode no_grad;
  DenseAttention dense(state.range(0), state.range(1), state.range(2));
  at::set_num_threads(kernels::thread_count());
  openblas_set_num_threads(kernels::thread_count());
  for (auto _ : state) benchmark::DoNotOptimize(dense.run());
  openblas_set_num_threads(1);
  count_flops(state, causal_flops(state.range(0), state.range(1), state.range(2)));
}
BENCHMARK(dense_attention)->Args({12, 2048, 64})->UseRealTime()->Unit(benchmark::kMillisecond);

// With statistics, copies to the GPU and back included; registered where there is one.
void cuda_attention(benchmark::State& state) {
  const c10::InferenceMode no_grad;
  const int64_t heads = state.range(0), tokens = state.range(1), dim = state.range(2);
  const at::Tensor x = at::randn({1, heads, tokens, dim});
  std::vector<kernels::HeadAttention> statistics;
  for (auto _ : state)
    benchmark::DoNotOptimize(device_attention(x, x, x, {.scale = 0.1}, {.statistics = true, .map_bins = 64},
                                              at::kCUDA, &statistics));
  count_flops(state, causal_flops(heads, tokens, dim));
}

const bool registered = [] {
  if (at::hasCUDA())
    benchmark::RegisterBenchmark("cuda_attention", cuda_attention)
        ->Args({12, 2048, 64})
        ->Args({32, 4096, 128})
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  return true;
}();

}  // namespace
}  // namespace kvviz::bench
