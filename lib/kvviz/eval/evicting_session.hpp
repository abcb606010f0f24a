// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

#include "kvviz/eval/layer_scan.hpp"

namespace kvviz {

/// One sequence running through a decoder with an evicting cache, token by token or in pieces: what
/// simulate() computes layer by layer, for text that is not known in advance.
class EvictingSession {
 public:
  /// `tokens`: most tokens that will come, for budgets that are a fraction and for rotary tables: under cache
  /// positions keys are turned as in a text of that length. Throws UsageError as simulate(), and for a
  /// clairvoyant policy.
  EvictingSession(const Decoder& decoder, Simulation simulation, SimulationOptions options, int64_t tokens);

  /// Runs the ids after those before. Hidden states after the final norm, [ids, hidden]. No gradients.
  at::Tensor extend(std::span<const int32_t> ids);

  int64_t tokens() const { return tokens_; }
  std::vector<SimulatedSet> sets() const;

 private:
  at::Tensor attend(const LayerQkv& x);

  const Decoder& decoder_;
  Simulation simulation_;
  SimulationOptions options_;
  int64_t most_tokens_, tokens_ = 0;
  RotaryTables rotary_;
  std::vector<kernels::EvictingScan> scans_;  ///< by layer
  std::vector<std::vector<policy::Split>> splits_;
  std::vector<std::vector<policy::Metadata>> metadata_;
};

}  // namespace kvviz
