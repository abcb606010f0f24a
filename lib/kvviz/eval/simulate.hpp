// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kvviz/model/decoder.hpp"
#include "kvviz/policy/budget.hpp"
#include "kvviz/policy/policy.hpp"

namespace kvviz {

/// Where a key stands for RoPE: where it stood in the text, or at its rank among the keys held
/// (StreamingLLM's way: keys are rotated when they are used).
enum class CachePositions { original, cache };

/// One policy at one budget.
struct Simulation {
  policy::Policy policy;
  policy::Budget budget;
};

struct SimulationOptions {
  policy::PolicyOptions policy;  ///< of all simulations
  CachePositions positions = CachePositions::original;
  /// Full prefill: so many tokens attend to all before them, then the cache is cut once. 0: keys leave from
  /// the first step on.
  int64_t prompt = 0;
  bool compare = true;     ///< measure SimulatedHead; costs about one more attention pass a simulation
  int64_t score_from = 0;  ///< first step whose recall and error count
  /// Called after each layer of each group of simulations that run side by side, for progress; what it throws
  /// ends the simulation.
  std::function<void(int64_t done, int64_t total)> on_layer{};
  int64_t memory = int64_t{1} << 30;  ///< bytes of activations for which simulations run side by side
};

/// One query head under eviction, against the same head of the run with the full cache. Means over the steps
/// from score_from on. K: the keys that a step attends to, the newest among them.
struct SimulatedHead {
  int layer = 0, head = 0;
  double recall = 0;    ///< full-cache attention weight on K; 1 is best
  double bound = 0;     ///< weight of the best set of |K| keys that holds the newest: recall cannot be higher
  double error = 0;     ///< |output - full output| / |full output|, L2; 0 is best
  int64_t demands = 0;  ///< over all steps: pairs (t, p) with full-cache weight >= max(0.01, 2 / (t + 1))
  int64_t hits = 0;     ///< those with p in K
};

/// One set of keys: of a KV head, or of a query head where each has its own.
struct SimulatedSet {
  int layer = 0;
  kernels::SlotOwner owner;
  int64_t budget = 0;
  policy::Metadata metadata;           ///< bytes that the policy remembers
  int64_t peak = 0;                    ///< most keys that a step attended to
  std::vector<int32_t> kept;           ///< positions held at the end, ascending
  std::vector<kernels::Eviction> log;  ///< in the order of the steps
};

/// One simulation on one text.
struct SimulatedText {
  at::Tensor hidden;                 ///< after the final norm, [tokens, hidden]
  std::vector<SimulatedHead> heads;  ///< [layers x query heads]; empty without compare
  std::vector<SimulatedSet> sets;    ///< layer by layer
  double scan_seconds = 0;           ///< wall clock inside its evicting scans
};

/// What the run with the full cache gave each key of one set, [tokens].
struct KeyUse {
  int layer = 0;
  kernels::SlotOwner owner;
  int64_t window = 0;              ///< the layer's sliding window; 0: none
  std::vector<double> mass;        ///< weight received from all queries, aggregated over the set's heads
  std::vector<double> later_mass;  ///< the same without the key's own query
  std::vector<int32_t> reads;      ///< later steps with weight >= max(0.01, 2 / (t + 1))
};

struct SimulationResult {
  at::Tensor full;                   ///< hidden states with the full cache
  std::vector<KeyUse> keys;          ///< of the full cache, one entry a set, layer by layer
  std::vector<SimulatedText> texts;  ///< one a simulation, in their order
  double seconds = 0;                ///< wall clock of everything
};

/// A text under every simulation, teacher-forced and exact: what a decoder that evicts after every step would
/// compute, layer by layer instead of token by token (kernels::EvictingScan). The full cache runs beside them
/// and is what they are compared with; all share one reading of the weights, and layer 0's queries, keys and
/// values. A simulation that never evicts equals the full cache bit for bit. Costs one forward pass a
/// simulation; memory: activations of as many as fit in `memory`, the held keys of one layer, and the logs.
/// Throws UsageError as policy::decision_groups() does, for cache positions in a model with learned
/// ones, and for an empty text.
SimulationResult simulate(const Decoder& decoder, std::span<const int32_t> ids,
                          std::span<const Simulation> simulations, const SimulationOptions& options);

/// Throws UsageError, with the reason, when the model's keys cannot be given other positions on use.
void check_positions(CachePositions positions, const ModelConfig& config);

}  // namespace kvviz
