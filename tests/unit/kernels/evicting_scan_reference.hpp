// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "kvviz/kernels/evicting_scan.hpp"

namespace kvviz::test {

/// Which keys leave a set that holds more than its budget.
enum class Choice {
  nothing,
  oldest,
  newest,
  least_weight,         ///< accumulated
  least_full_weight,    ///< accumulated, of attention over all keys
  random,               ///< by rank among the held keys
  many_at_once,         ///< every tenth step all positions that 3 does not divide
  shared_least_weight,  ///< accumulated; all sets of a group compete for the sum of their budgets
};

/// A layer, what is kept of it, and its random tensors. Rows lie `gap` floats apart, with NaN between them.
struct ScanCase {
  int64_t query_heads = 2, kv_heads = 2, head_dim = 16, tokens = 60;
  float scale = 0.5F, softcap = 0;
  int64_t window = 0;
  bool per_query_head = false;  ///< one slot set a query head, else one a KV head
  bool one_group = false;       ///< all slot sets in one decision group
  kernels::Aggregate aggregate = kernels::Aggregate::mean;
  int64_t prompt = 0;
  int64_t budget = 12;
  Choice choice = Choice::least_weight;
  int64_t rotary_pairs = 0;  ///< > 0: cache positions
  bool interleaved = false;
  float alibi = 0;       ///< the first head's slope; head h has this / (h + 1)
  bool ranks = false;    ///< cache positions without rotary pairs, for ALiBi
  bool own_full = true;  ///< false: queries, keys and outputs of the full attention are given
  int64_t gap = 3;
  unsigned seed = 1;
  bool by_rank() const { return rotary_pairs > 0 || ranks; }
};

class ScanData {
 public:
  explicit ScanData(const ScanCase& c);
  kernels::ScanShape shape() const;
  std::vector<kernels::SlotOwner> owners() const;
  /// `tokens` tokens from `first` on.
  kernels::ScanInput input(int64_t first, int64_t tokens);
  kernels::ScanInput input() { return input(0, c_.tokens); }
  kernels::RotaryTable table() const;

  std::vector<float> q, k, v, query_pre_rope, key_pre_rope, out, cosine, sine, full_q, full_k, full_out;

 private:
  ScanCase c_;
};

using SetWeights = std::vector<std::map<int64_t, double>>;  ///< by step: position -> weight

struct ReferenceSet {
  std::vector<int64_t> kept;                     ///< at the end, ascending
  std::vector<std::pair<int64_t, int64_t>> log;  ///< (step, position)
  int64_t peak = 0;
  SetWeights weights, full_weights;
};
struct ReferenceScanHead {
  std::vector<double> out;  ///< [tokens x head_dim]
  std::vector<double> mass, bound, error;
  std::vector<double> full_norm;              ///< |out_full|, which `error` is divided by
  int64_t demands_low = 0, demands_high = 0;  ///< with the threshold moved by 1e-5 of itself
  int64_t hits_low = 0, hits_high = 0;
};
struct ReferenceScan {
  std::vector<ReferenceSet> sets;  ///< in the order of the owners
  std::vector<ReferenceScanHead> heads;
  double closest = 1;  ///< smallest relative distance between a score that left and the next one
};

/// Step by step and key by key, in double, from the definitions.
ReferenceScan reference_scan(ScanData& data, const ScanCase& c);

}  // namespace kvviz::test
