// SPDX-License-Identifier: MIT
#include "kvviz/eval/simulate.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/core/seconds_since.hpp"
#include "kvviz/eval/layer_scan.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/model/token_ids.hpp"

namespace kvviz {
namespace {

using Clock = std::chrono::steady_clock;

/// Drops nothing and counts what every key gets.
class CountUse : public kernels::EvictionRule {
 public:
  CountUse(KeyUse& use, int64_t tokens) : use_(use), tokens_(tokens) {
    const auto n = static_cast<size_t>(tokens);
    use_.mass.assign(n, 0);
    use_.reads.assign(n, 0);
    own_.reserve(n);
  }
  Needs needs() const override { return {.weights = true}; }

  void after_step(const kernels::ScanStep& step, std::span<kernels::SlotSet> sets) override {
    kernels::SlotSet& set = sets.front();
    const float demand = demand_at(static_cast<size_t>(step.position));
    own_.push_back(set.weights()[static_cast<size_t>(set.column_of(step.position))]);
    if (use_.window > 0)
      count_held(set, demand);
    else
      count_all(set, demand);
    if (step.position + 1 < tokens_) return;
    if (use_.window == 0) use_.mass.assign(set.scores().begin(), set.scores().end());
    use_.later_mass = use_.mass;
    for (size_t key = 0; key < own_.size(); ++key) {
      use_.later_mass[key] -= static_cast<double>(own_[key]);
      use_.reads[key] -= own_[key] >= demand_at(key) ? 1 : 0;
    }
  }

 private:
  static float demand_at(size_t step) {
    return static_cast<float>(std::max(0.01, 2.0 / static_cast<double>(step + 1)));
  }

  /// Nothing ever leaves: column is position.
  void count_all(kernels::SlotSet& set, float demand) {
    set.add_weights();
    const std::span<const float> weights = set.weights();
    for (size_t c = 0; c < weights.size(); ++c) use_.reads[c] += weights[c] >= demand ? 1 : 0;
  }

  void count_held(const kernels::SlotSet& set, float demand) {
    const std::span<const float> weights = set.weights();
    for (size_t c = 0; c < weights.size(); ++c) {
      const int64_t key = set.position(static_cast<int64_t>(c));
      if (key < 0) continue;
      use_.mass[static_cast<size_t>(key)] += static_cast<double>(weights[c]);
      use_.reads[static_cast<size_t>(key)] += weights[c] >= demand ? 1 : 0;
    }
  }

  KeyUse& use_;
  int64_t tokens_;
  std::vector<float> own_;
};

double mean_from(std::span<const float> values, int64_t first) {
  const auto counted = values.subspan(static_cast<size_t>(std::min(first, std::ssize(values))));
  return std::accumulate(counted.begin(), counted.end(), 0.0) / static_cast<double>(counted.size());
}

/// The full cache, entry 0 of the batch, and some simulations, the entries behind it.
class SideBySide {
 public:
  SideBySide(const ModelConfig& config, std::span<const Simulation> simulations,
             const SimulationOptions& options, int64_t tokens)
      : config_(config),
        simulations_(simulations),
        options_(options),
        tokens_(tokens),
        rotary_(config, tokens, options.policy.future),
        texts_(simulations.size()) {}

  at::Tensor attend(const LayerQkv& x) {
    const auto runs = std::ssize(simulations_);
    const at::Tensor out = empty_output(x, runs + 1);
    const kernels::ScanShape shape = scan_shape(x);
    const std::vector<std::vector<double>> totals = full_cache(x, shape, out);
    const auto run = [&](int64_t i) { evict(x, shape, totals, out, i); };
    if (runs >= kernels::thread_count()) {
      kernels::parallel_for(runs, run);
    } else {
      for (int64_t i = 0; i < runs; ++i) run(i);
    }
    return out;
  }

  std::vector<SimulatedText>& texts() { return texts_; }
  std::vector<KeyUse>& keys() { return keys_; }

 private:
  std::vector<std::vector<double>> full_cache(const LayerQkv& x, const kernels::ScanShape& shape,
                                              const at::Tensor& out) {
    const std::vector<kernels::SlotOwner> owners = policy::owners(options_.policy, shape);
    std::vector<KeyUse> uses(owners.size());
    std::vector<kernels::DecisionGroup> groups;
    for (size_t i = 0; i < owners.size(); ++i) {
      uses[i].layer = x.layer;
      uses[i].owner = owners[i];
      uses[i].window = shape.window;
      groups.push_back({.owners = {owners[i]}, .rule = std::make_unique<CountUse>(uses[i], tokens_)});
    }
    kernels::EvictingScan scan(shape, std::move(groups), {.aggregate = options_.policy.aggregate});
    scan.advance(scan_input(x, out, 0));
    std::vector<std::vector<double>> totals;
    for (KeyUse& use : uses) {
      totals.push_back(use.mass);
      keys_.push_back(std::move(use));
    }
    return totals;
  }

  void evict(const LayerQkv& x, const kernels::ScanShape& shape, std::span<const std::vector<double>> totals,
             const at::Tensor& out, int64_t i) {
    const auto start = Clock::now();
    const Simulation& simulation = simulations_[static_cast<size_t>(i)];
    const policy::LayerPlace place = layer_place(simulation, config_, x.layer, tokens_, rotary_);
    kernels::EvictingScan scan = layer_scan(simulation, options_, shape, place, totals);
    kernels::ScanInput input = scan_input(x, out, i + 1);
    input.full_q = heads_view(x.query, 0);
    input.full_k = heads_view(x.key, 0);
    input.full_out = heads_view(out, 0);
    scan.advance(input);
    SimulatedText& text = texts_[static_cast<size_t>(i)];
    const auto splits = policy::layer_splits(simulation.policy, options_.policy, shape, place);
    const auto metadata = policy::layer_metadata(simulation.policy, options_.policy, shape, place);
    std::ranges::move(simulated_sets(x.layer, scan, splits, metadata), std::back_inserter(text.sets));
    int head = 0;
    for (const kernels::HeadComparison& seen : scan.comparisons()) {
      text.heads.push_back({.layer = x.layer,
                            .head = head++,
                            .recall = mean_from(seen.mass, options_.score_from),
                            .bound = mean_from(seen.bound, options_.score_from),
                            .error = mean_from(seen.error, options_.score_from),
                            .demands = seen.demands,
                            .hits = seen.hits});
    }
    text.scan_seconds += seconds_since(start);
  }

  const ModelConfig& config_;
  std::span<const Simulation> simulations_;
  const SimulationOptions& options_;
  int64_t tokens_;
  RotaryTables rotary_;
  std::vector<SimulatedText> texts_;
  std::vector<KeyUse> keys_;
};

/// How many simulations run beside the full cache: as many as fit with the widest activations of a layer.
int64_t at_once(const ModelConfig& config, int64_t tokens, int64_t memory) {
  int64_t widest = 0;
  for (const LayerConfig& layer : config.layers) {
    const int64_t projections = (2 * layer.heads + 3 * layer.kv_heads) * layer.head_dim;
    widest = std::max(widest, 3 * config.hidden + std::max(projections, 2 * layer.mlp_dim));
  }
  const int64_t bytes = widest * tokens * static_cast<int64_t>(sizeof(float));
  return std::max<int64_t>(memory / std::max<int64_t>(bytes, 1) - 1, 1);
}

}  // namespace

void check_positions(CachePositions positions, const ModelConfig& config) {
  require<UsageError>(
      positions == CachePositions::original || config.position != PositionKind::learned,
      "--positions cache needs positions that are applied when a key is used (RoPE, ALiBi); this model (",
      config.architecture,
      ") adds learned positions to its tokens, so its keys cannot be moved. Use --positions original");
}

SimulationResult simulate(const Decoder& decoder, std::span<const int32_t> ids,
                          std::span<const Simulation> simulations, const SimulationOptions& options) {
  const at::NoGradGuard no_grad;
  const auto start = Clock::now();
  const auto tokens = std::ssize(ids);
  require<UsageError>(tokens > 0, "there is no token to simulate");
  require<UsageError>(options.prompt >= 0 && options.prompt <= tokens, "a prompt of ", options.prompt,
                      " tokens does not fit into a text of ", tokens);
  check_positions(options.positions, decoder.config());
  const at::Tensor input = token_tensor(ids);

  SimulationResult result;
  const auto all = std::ssize(simulations);
  const int64_t step = std::min(at_once(decoder.config(), tokens, options.memory), std::max<int64_t>(all, 1));
  const int64_t groups = std::max<int64_t>((all + step - 1) / step, 1);
  const int64_t layers = std::ssize(decoder.config().layers);
  int64_t done = 0;
  for (int64_t first = 0; first == 0 || first < all; first += step) {
    const auto some =
        simulations.subspan(static_cast<size_t>(first), static_cast<size_t>(std::min(step, all - first)));
    SideBySide runs(decoder.config(), some, options, tokens);
    const at::Tensor hidden = decoder.hidden(input, {}, [&](const LayerQkv& x) {
      const at::Tensor out = runs.attend(x);
      if (options.on_layer) options.on_layer(++done, groups * layers);
      return out;
    });
    if (first == 0) {
      result.full = hidden[0];
      result.keys = std::move(runs.keys());
    }
    for (SimulatedText& text : runs.texts()) {
      text.hidden = hidden[std::ssize(result.texts) - first + 1];
      result.texts.push_back(std::move(text));
    }
  }
  result.seconds = seconds_since(start);
  return result;
}

}  // namespace kvviz
