// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/analysis/sink_study.hpp"

namespace kvviz::analysis {

// Random numbers in the place of sink scores. No model was run; whoever shows them must say so.

/// The random model of sink_speedup's simulate_8b_model.py (constants of its "llama-3.1-8b"). A head is drawn
/// as a sink with p = clamp(base_l x length factor x tendency_h + N(0, noise), p_min, p_max), base_l falling
/// linearly over the layers, tendency_h ~ Beta, factor = max(floor, 1 - slope n); its score is then one of
/// two Betas.
struct SyntheticOptions {
  int64_t layers = 32, heads = 32, kv_heads = 8;
  std::vector<int64_t> lengths{5, 10, 15, 20, 25};
  double base_first = 0.9, base_last = 0.2;
  double tendency_a = 2, tendency_b = 3;
  double slope = 0.03, floor = 0.2;
  double noise = 0.05, p_min = 0.05, p_max = 0.98;
  double sink_a = 15, sink_b = 2, other_a = 2, other_b = 5;
  uint64_t seed = 1;
  bool operator==(const SyntheticOptions&) const = default;
};
void validate(const SyntheticOptions& options);

/// One text a length; share0 is drawn, every other metric that follows from it is derived (share0_later,
/// excess), the rest is kNone. The same seed gives the same scores on every machine.
SinkStudy synthetic_study(const SyntheticOptions& options);

/// The same, but every score of the rule's metric is drawn from what was measured (the others are kNone): per
/// layer two Betas fitted by moments to the scores on either side of the threshold, and for each of its heads
/// a probability of being a sink, the same in all texts, from a Beta with the mean of the heads' sink shares
/// and with their variance less what chance gives that many texts (moments of the beta-binomial). The
/// expected rate of every layer is the measured one, with heads weighted alike. As many texts as the measured
/// study has, of the same lengths; where it has no score there is none. Scores below 0 (excess) count as 0.
/// Throws DataError: a metric that is no share, a layer without scores.
SinkStudy fitted_study(const SinkStudy& measured, const SinkRule& rule, uint64_t seed);

}  // namespace kvviz::analysis
