// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvviz/kernels/evicting_scan.hpp"

namespace kvviz::policy {

enum class Pool { average, maximum };

/// Settings of the policies; each reads the ones that its page section names. Defaults are those of the
/// papers' code where there is one (docs/policies.md).
struct PolicyOptions {
  std::optional<int64_t> sinks;   ///< first tokens that are never evicted; default: the policy's own
  std::optional<int64_t> recent;  ///< newest tokens that are never evicted; default: the policy's own
  kernels::Aggregate aggregate = kernels::Aggregate::mean;  ///< over the query heads of a KV head
  uint64_t seed = 0;                                        ///< random
  bool per_query_head = false;     ///< every query head of a group keeps a set of its own
  int64_t observation = 32;        ///< snapkv, pyramidkv, adakv: newest keys that stay, whose queries count
  int64_t kernel = 5;              ///< snapkv: width of the pooling over neighbouring keys, odd
  Pool pool = Pool::average;       ///< snapkv
  int64_t beta = 20;               ///< pyramidkv: steepness
  double floor = 0.2;              ///< adakv: share of the budget that every head keeps
  int64_t lag = 128;               ///< lagkv: tokens per partition
  int64_t future = 512;            ///< expected_attention: positions ahead that are averaged over
  double epsilon = 0;              ///< expected_attention: added to the expected weight
  int64_t refresh = 64;            ///< expected_attention: steps between two fits of the queries
  std::vector<int64_t> budgets{};  ///< [layers x kv_heads] instead of one for all; empty: none
};

inline constexpr int64_t most_future = 65536;

/// What one slot set keeps: the first `sinks` tokens, the newest `recent`, and `heavy` chosen in between.
struct Split {
  int64_t sinks = 0, recent = 0, heavy = 0;
  int64_t budget() const { return sinks + recent + heavy; }
};

/// What is decided together: the keys of one slot set (of a KV head, or of a query head that has a set of its
/// own), or those of all sets of a layer.
enum class Grain { set, layer };

/// Where a rule works.
struct RuleContext {
  const PolicyOptions& options;
  const kernels::ScanShape& shape;
  std::span<const kernels::SlotOwner> owners;  ///< of the rule's decision group
  std::span<const Split> splits;               ///< what each owner keeps
  int64_t layer = 0;
  int64_t tokens = 0;                            ///< of the whole text, at most; 0: not known
  const kernels::RotaryTable* rotary = nullptr;  ///< null: the model has no rotary positions
  /// Clairvoyant policies: full-attention weight that each token receives over the whole text, one span an
  /// owner.
  std::span<const std::vector<double>> total_mass = {};
};

/// A number for every held key, in SlotSet::scores(): the key with the lowest one leaves first. One object
/// per slot set.
class Scorer {
 public:
  virtual ~Scorer() = default;
  virtual kernels::EvictionRule::Needs needs() const { return {}; }
  /// After every step. The newest key stands in the last column.
  virtual void observe(const kernels::ScanStep& step, kernels::SlotSet& set) = 0;
  /// Before a decision, for scores that are not kept up to date at every step.
  virtual void prepare(const kernels::ScanStep&, kernels::SlotSet&) {}
  /// End of the positions that have a score yet; later ones are safe while there are others.
  virtual int64_t scored_end(int64_t tokens) const { return tokens; }
};

using MakeScorer = std::unique_ptr<Scorer> (*)(const RuleContext&, size_t owner);
using MakeRule = std::unique_ptr<kernels::EvictionRule> (*)(const RuleContext&);

/// Bytes that a cache has to keep beside its keys and values, to decide as the policy does.
struct Metadata {
  int64_t key = 0;  ///< for each key held
  int64_t set = 0;  ///< once for a slot set, whatever it holds
};
using MakeMetadata = Metadata (*)(const RuleContext&, size_t owner);

/// A policy is data: this row, and the file that makes its scorer or rule.
struct PolicyInfo {
  std::string_view name;
  std::string_view summary;   ///< which keys leave, in one line
  std::string_view citation;  ///< empty: a baseline without a paper
  Grain grain = Grain::set;
  int64_t sinks = 0;                            ///< default
  int64_t (*recent)(int64_t budget) = nullptr;  ///< default for a budget; null: 0
  MakeScorer scorer = nullptr;                  ///< the lowest score leaves (keep_best); null: `rule` decides
  MakeRule rule = nullptr;
  MakeMetadata metadata = nullptr;  ///< null: of each key the position and a score
  bool clairvoyant = false;         ///< reads the future: only for a text known in advance
  bool evicts = true;               ///< false: holds every key, whatever the budget
  bool frees_memory = true;         ///< false: evicted keys are masked and stay in memory
  bool by_attention = true;         ///< false: keeps the same keys whatever the weights are
  bool pyramid = false;             ///< budgets fall from layer to layer (pyramid_budgets)
  bool observation = false;         ///< recent defaults to PolicyOptions::observation
  bool newest = false;              ///< all that are no sinks are recent: nothing is left to choose
  bool alike = false;               ///< all slot sets of a layer keep the same keys, so they have one budget
};

/// All policies, in the order of docs/policies.md.
std::span<const PolicyInfo> policies();

/// A policy by name, with the scorer that it works over: "adakv" is "adakv:snapkv", "adakv:h2o" another.
struct Policy {
  PolicyInfo info;
  std::string name;
  MakeScorer base = nullptr;  ///< of adakv
};

/// Throws UsageError naming all policies when there is none of this name.
Policy find_policy(std::string_view name);

/// Sinks, recent and heavy keys of a budget. Throws UsageError when sinks and recent asked for exceed it, or
/// an option is out of range; a policy's own defaults shrink to fit. PolicyOptions::recent has no effect on a
/// policy that keeps all the newest, nor PolicyOptions::sinks on one of those without sinks (window).
Split split(const Policy& policy, int64_t budget, const PolicyOptions& options);

/// The slot sets of a layer: one a KV head, or one a query head.
std::vector<kernels::SlotOwner> owners(const PolicyOptions& options, const kernels::ScanShape& shape);

/// One layer of a model under a policy.
struct LayerPlace {
  int64_t layer = 0, layers = 1;
  int64_t budget = 0;  ///< keys per slot set, before pyramids and tables
  int64_t tokens = 0;  ///< of the whole text; 0: not known
  const kernels::RotaryTable* rotary = nullptr;
};

/// What each of owners() keeps in this layer. Throws as split() does, and UsageError for a table of budgets
/// of the wrong shape, or with budgets that differ in a layer whose heads keep the same keys.
std::vector<Split> layer_splits(const Policy& policy, const PolicyOptions& options,
                                const kernels::ScanShape& shape, const LayerPlace& place);

/// What each of owners() has to remember in this layer from step to step (docs/policies.md lists it): of a
/// key its position (int32), unless the held keys are in order by themselves (full, window, streaming_llm),
/// and what is known of it (scores f64, weights f32); for a set what was learnt from all tokens. Copies of
/// keys and values that are in the cache, and what is computed anew at each step, are not counted. Throws as
/// layer_splits() does.
std::vector<Metadata> layer_metadata(const Policy& policy, const PolicyOptions& options,
                                     const kernels::ScanShape& shape, const LayerPlace& place);

/// The rules over the slot sets of a layer. `totals`, for clairvoyant policies: the full-attention weight of
/// every token, one entry an owner in the order of owners(), aggregated over its query heads as the scan
/// does. The rotary table has to outlive the rules. Throws as layer_splits() does.
std::vector<kernels::DecisionGroup> decision_groups(const Policy& policy, const PolicyOptions& options,
                                                    const kernels::ScanShape& shape, const LayerPlace& place,
                                                    std::span<const std::vector<double>> totals = {});

}  // namespace kvviz::policy
