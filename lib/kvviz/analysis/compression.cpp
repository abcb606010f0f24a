// SPDX-License-Identifier: MIT
#include "kvviz/analysis/compression.hpp"

#include "kvviz/analysis/frontier.hpp"

namespace kvviz::analysis {

const CodecOutcome* smallest_within(const CompressionStudy& study, double percent) {
  const CodecOutcome* best = nullptr;
  for (const CodecOutcome& outcome : study.outcomes) {
    if (!(100 * outcome.delta_ppl < percent * study.full_ppl)) continue;
    if (best == nullptr || outcome.bytes() < best->bytes()) best = &outcome;
  }
  return best;
}

void mark_frontier(std::vector<CodecOutcome>& outcomes) {
  std::vector<double> bytes, losses;
  for (const CodecOutcome& outcome : outcomes) {
    bytes.push_back(outcome.bytes());
    losses.push_back(outcome.delta_nll);
  }
  const std::vector<bool> chosen = pareto_set(bytes, losses);
  for (size_t i = 0; i < outcomes.size(); ++i) outcomes[i].on_frontier = chosen[i];
}

}  // namespace kvviz::analysis
