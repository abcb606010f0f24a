// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace kvviz::stats {

/// What uniform causal attention gives a key: weight 1 / (keys that the query sees) from each query.
class UniformMass {
 public:
  /// `window`: sliding window in tokens; 0: none.
  UniformMass(int64_t tokens, int64_t window);
  /// Sum over the queries [first, end) of the weight of one key that all of them see.
  double of(int64_t first, int64_t end) const {
    return before_[static_cast<size_t>(end)] - before_[static_cast<size_t>(first)];
  }

 private:
  std::vector<double> before_;
};

struct SinkKeyRule {
  double ratio = 10;   ///< above this multiple of uniform attention ...
  double mass = 0.05;  ///< ... and at or above this mean weight per later query
};

/// Sink keys of one head by what each key got, corrected for how many queries saw it: later_mass[j] is the
/// sum of the weights of the queries behind j. A key must be seen by 64 later queries, or half the text, or
/// the whole window where these are fewer: local attention gives every key a large weight for a short time.
std::vector<int64_t> sink_keys(std::span<const double> later_mass, int64_t window, const SinkKeyRule& rule);

}  // namespace kvviz::stats
