// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kvviz/kernels/attention.hpp"
#include "kvviz/kernels/evicting_scan_slots.hpp"

namespace kvviz::kernels {

/// The attention of one layer.
struct ScanShape {
  int64_t query_heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;
  float softcap = 0;   ///< softcap * tanh(logit / softcap); 0: none
  int64_t window = 0;  ///< the model's own sliding window in tokens; 0: none
  /// [query_heads], or empty: ALiBi, as in AttentionProblem. The distance is that of the original positions;
  /// under cache positions that of the ranks in the cache.
  std::vector<float> alibi_slopes = {};
};

/// cos and sin of RoPE by position, [positions, pairs] each, dense; channels beyond 2 * pairs are not
/// rotated. No pairs, and no tables: only ALiBi goes by position.
struct RotaryTable {
  const float* cosine = nullptr;
  const float* sine = nullptr;
  int64_t positions = 0, pairs = 0;
  bool interleaved = false;  ///< a pair is channels (2p, 2p + 1); else (p, p + pairs)
};

/// The next `tokens` tokens of one layer, [heads, tokens, head_dim] each; `out` [query_heads, ...] overlaps
/// no input.
struct ScanInput {
  int64_t tokens = 0;
  HeadsView q, k, v;
  HeadsView query_pre_rope = {}, key_pre_rope = {};  ///< for cache positions, and for rules that read them
  MutableHeadsView out = {};
  /// Of the same tokens in a run with the full cache, whose attention is then what full_weights and
  /// HeadComparison speak of; null: that of q, k and v over all keys.
  HeadsView full_q = {}, full_k = {}, full_out = {};
};

/// What an eviction rule is told about a step.
struct ScanStep {
  int64_t position = 0;    ///< t: the step's query and newest key stand here
  int64_t row = 0;         ///< the step's row in `input`
  bool may_evict = false;  ///< false for the steps of a full prefill but the last
  const ScanShape& shape;
  const ScanInput& input;
};

/// Decides for the slot sets of one decision group (often a single one) which keys leave. State of a rule is
/// kept by position, or in SlotSet::scores(): columns change between steps.
class EvictionRule {
 public:
  struct Needs {
    bool weights = false;       ///< SlotSet::weights()
    bool full_weights = false;  ///< SlotSet::full_weights(); costs a pass of full attention
    bool order = false;         ///< SlotSet::ordered()
  };
  virtual ~EvictionRule() = default;
  virtual Needs needs() const { return {}; }
  /// After the attention of a step, in the order of the steps; drops keys with SlotSet::drop().
  virtual void after_step(const ScanStep& step, std::span<SlotSet> sets) = 0;
};

/// Slot sets that are decided upon together, one after the other in time; groups run in parallel.
struct DecisionGroup {
  std::vector<SlotOwner> owners;
  std::unique_ptr<EvictionRule> rule;
};

struct ScanOptions {
  Aggregate aggregate = Aggregate::mean;
  int64_t prompt = 0;    ///< full prefill: no key leaves before step prompt - 1 has been attended to
  bool compare = false;  ///< measure against attention over all keys (HeadComparison); costs another pass
  /// Keys are rotated on use at their rank in the cache, and ALiBi goes by these ranks.
  const RotaryTable* cache_positions = nullptr;
  int64_t block = 0;  ///< steps per matrix product; 0: chosen by the shape
};

/// One query head's evicting attention against attention over all keys, from the same q, k and v, both at the
/// original positions but for the output under cache positions. K is the set of keys that the step attended
/// to. Per step, [tokens]:
struct HeadComparison {
  std::vector<float> mass;   ///< full-attention weight on K; 1 is best, and exact where nothing has left
  std::vector<float> bound;  ///< the own key's weight and the |K| - 1 heaviest others': no K of this size has
                             ///< more mass; never below `mass`
  std::vector<float> error;  ///< |out - out_full| / |out_full|
  int64_t demands = 0;       ///< pairs (t, p) with weight >= max(0.01, 2 / (t + 1))
  int64_t hits = 0;          ///< those with p in K
};

/// Attention with an evicting KV cache, exact, for tokens whose queries, keys and values are known: all of a
/// text at once (a layer of a teacher-forced pass) or token by token (generation); the two agree up to
/// rounding.
///
/// At step t a slot set holds S; the queries of its owner attend to K = S + {t} with softmax over K alone;
/// then the rule may drop keys, t too. A key that left never returns. Keys that the model's sliding window
/// has passed leave by themselves, and are not counted as evicted.
///
/// Queries are taken in blocks against the held keys and the block's own in one product, and rows are masked
/// one after the other as the rule decides: the set held at a step is always a subset of those columns. 4
/// head_dim (|K| + block / 2) flops a step and query head. Logits and weights are f32, scores f64. Memory:
/// the held keys and values, a block of logits per thread or slot set, some bytes a token; with comparisons
/// or full weights also all keys.
///
/// Results do not depend on the number of threads. Where no key ever leaves, and none has been passed by a
/// window, outputs equal those of attention() for eight queries or more bit for bit. A query or key that is
/// not finite, or a q.k that overflows, makes NaN of the steps that see it, with a softcap too; a value that
/// is not finite does so to the output, and may also to that of the rest of its block.
class EvictingScan {
 public:
  EvictingScan(const ScanShape& shape, std::vector<DecisionGroup> groups, const ScanOptions& options);
  ~EvictingScan();
  EvictingScan(EvictingScan&&) noexcept;
  EvictingScan& operator=(EvictingScan&&) noexcept;

  /// The next tokens. Throws UsageError when the table of cache positions is too short for the keys held.
  void advance(const ScanInput& input);

  int64_t tokens() const { return tokens_; }
  /// Every slot set, in the order of the groups and their owners.
  std::vector<const SlotSet*> sets() const;
  /// [query_heads]; empty unless options.compare.
  std::span<const HeadComparison> comparisons() const { return comparisons_; }

 private:
  ScanShape shape_;
  ScanOptions options_;
  std::vector<std::unique_ptr<class GroupScan>> groups_;
  std::vector<HeadComparison> comparisons_;
  int64_t tokens_ = 0;
};

}  // namespace kvviz::kernels
