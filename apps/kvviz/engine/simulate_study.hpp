// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/eval/compare.hpp"
#include "kvviz/eval/simulate.hpp"

namespace kvviz {

/// Keys of one set that matter most with the full cache.
struct KeptMost {
  std::vector<int64_t> sinks;  ///< stats::sink_keys
  std::vector<int64_t> heavy;  ///< the tenth of the tokens that gets most, sinks left out
};
KeptMost kept_most(const KeyUse& use);

/// The predictions from number `first` on.
PairedScores behind(const PairedScores& scores, int64_t first);

/// One simulation over all texts, added up text by text.
class OutcomeSum {
 public:
  void add(const SimulatedText& text, std::span<const KeyUse> keys, PairedScores scores, int64_t first);
  analysis::PolicyOutcome outcome(const Simulation& simulation, const ModelConfig& config) const;

 private:
  std::vector<PairedScores> scored_, all_;
  std::vector<analysis::HeadOutcome> heads_;
  std::vector<int64_t> demands_, hits_;
  std::vector<analysis::SetOutcome> sets_;
  std::vector<int64_t> sinks_, sinks_held_, heavy_, heavy_held_;
  double metadata_ = 0, peak_metadata_ = 0;  ///< bytes of all sets, with the keys of the end and of the peak
  double tokens_ = 0, seconds_ = 0;
};

}  // namespace kvviz
