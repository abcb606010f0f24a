// SPDX-License-Identifier: MIT
#include <ATen/Functions.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "bench/bench_data.hpp"
#include "kvviz/compress/codec.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz::bench {
namespace {

constexpr int64_t heads = 8, tokens = 4096, channels = 128;

at::Tensor cache() {
  const at::Tensor x = at::empty({heads, tokens, channels});
  std::ranges::copy(normal_floats(x.numel(), 1), x.data_ptr<float>());
  return x;
}

/// What is read and written at least.
void count_bytes(benchmark::State& state, const at::Tensor& x) {
  state.SetBytesProcessed(2 * static_cast<int64_t>(x.nbytes()) * static_cast<int64_t>(state.iterations()));
}

// The yardstick: a copy by all threads, as fast as the memory lets them.
void memory_copy(benchmark::State& state) {
  const at::Tensor x = cache(), y = x.clone();
  constexpr int64_t piece = int64_t{1} << 18;
  const auto bytes = static_cast<int64_t>(x.nbytes());
  const auto* const in = static_cast<const char*>(x.data_ptr());
  auto* const out = static_cast<char*>(y.data_ptr());
  for (auto _ : state) {
    kernels::parallel_for(bytes / piece, [&](int64_t i) {
      std::memcpy(out + i * piece, in + i * piece, static_cast<size_t>(piece));
    });
    benchmark::ClobberMemory();
  }
  count_bytes(state, x);
}
BENCHMARK(memory_copy)->UseRealTime()->Unit(benchmark::kMillisecond);

// Coding and reading back, the allocation of the result included.
void code(benchmark::State& state, const std::string& method) {
  const at::Tensor x = cache();
  const auto codec = compress::parse_method(method).codec;
  for (auto _ : state) {
    const compress::Coded coded = codec->code(x, compress::Side::key);
    benchmark::DoNotOptimize(coded.restored.data_ptr());
    benchmark::ClobberMemory();
  }
  count_bytes(state, x);
}

const bool registered = [] {
  for (const char* method : {"f32", "f16", "bf16", "fp8", "rtn_tensor:4", "rtn_token:4", "rtn_token:4:32",
                             "rtn_channel:4", "rtn_channel:4:32", "kivi:4", "kivi:2", "q8_0", "q4_0",
                             "hadamard:f32", "hadamard:q4_0", "hadamard:rtn_token:4"}) {
    benchmark::RegisterBenchmark((std::string("code/") + method).c_str(),
                                 [method](benchmark::State& state) { code(state, method); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace kvviz::bench
