// SPDX-License-Identifier: MIT
#include "kvviz/kernels/evicting_scan.hpp"

#include <cmath>
#include <string>

#include "bench/bench_data.hpp"
#include "kvviz/policy/policy.hpp"

namespace kvviz::bench {
namespace {

constexpr int64_t heads = 12, tokens = 2048, dim = 64;

/// 2 products of 2 * head_dim flops for every key that a step attends to.
double scan_flops(int64_t budget) {
  double keys = 0;
  for (int64_t t = 0; t < tokens; ++t) keys += static_cast<double>(std::min(t, budget) + 1);
  return 4.0 * static_cast<double>(heads * dim) * keys;
}

struct Scan {
  std::string policy;
  bool compare = false;
  bool full_given = false;  ///< queries, keys and outputs of a run over all keys, as in a simulation
  bool cache_positions = false;
};

/// Of all channels, for any base: the values do not matter to the speed.
struct Rotation {
  std::vector<float> cosine = normal_floats(tokens * dim / 2, 4), sine = normal_floats(tokens * dim / 2, 5);
  kernels::RotaryTable table{
      .cosine = cosine.data(), .sine = sine.data(), .positions = tokens, .pairs = dim / 2};
};

// A layer of GPT-2 small. Arguments: budget, query heads per KV head.
void evicting_scan(benchmark::State& state, const Scan& scan) {
  const int64_t budget = state.range(0), kv_heads = heads / state.range(1);
  const std::vector<float> q = normal_floats(heads * tokens * dim, 1);
  const std::vector<float> k = normal_floats(kv_heads * tokens * dim, 2);
  const std::vector<float> v = normal_floats(kv_heads * tokens * dim, 3);
  std::vector<float> out(q.size());
  const auto view = [](const std::vector<float>& x) {
    return kernels::HeadsView{x.data(), tokens * dim, dim};
  };
  const kernels::ScanShape shape{.query_heads = heads,
                                 .kv_heads = kv_heads,
                                 .head_dim = dim,
                                 .scale = 1 / std::sqrt(static_cast<float>(dim))};
  kernels::ScanInput input{.tokens = tokens,
                           .q = view(q),
                           .k = view(k),
                           .v = view(v),
                           .query_pre_rope = view(q),
                           .key_pre_rope = view(k),
                           .out = {out.data(), tokens * dim, dim}};
  if (scan.full_given) {
    input.full_q = view(q);
    input.full_k = view(k);
    input.full_out = view(q);
  }
  const policy::Policy policy = policy::find_policy(scan.policy);
  const policy::PolicyOptions options;
  const Rotation rotation;
  const kernels::ScanOptions scan_options{
      .compare = scan.compare, .cache_positions = scan.cache_positions ? &rotation.table : nullptr};
  for (auto _ : state) {
    kernels::EvictingScan run(
        shape, policy::decision_groups(policy, options, shape, {.budget = budget, .tokens = tokens}),
        scan_options);
    run.advance(input);
    benchmark::DoNotOptimize(out.data());
  }
  count_flops(state, scan_flops(budget));
}

void budgets(benchmark::internal::Benchmark* benchmark) {
  for (const int64_t budget : {128, 256, 512, 1024}) benchmark->Args({budget, 1});
  benchmark->Args({512, 4})->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(evicting_scan, h2o, Scan{.policy = "h2o"})->Apply(budgets);
BENCHMARK_CAPTURE(evicting_scan, window, Scan{.policy = "window"})->Apply(budgets);

void one_budget(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({512, 1})->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(evicting_scan, h2o_compared, Scan{.policy = "h2o", .compare = true})->Apply(one_budget);
BENCHMARK_CAPTURE(evicting_scan, h2o_simulated, Scan{.policy = "h2o", .compare = true, .full_given = true})
    ->Apply(one_budget);
BENCHMARK_CAPTURE(evicting_scan, h2o_cache, Scan{.policy = "h2o", .cache_positions = true})
    ->Apply(one_budget);

}  // namespace
}  // namespace kvviz::bench
