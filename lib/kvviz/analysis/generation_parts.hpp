// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/generation.hpp"
#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/stats/mean.hpp"

namespace kvviz::analysis {

// What generation() is put together from.

using stats::Mean;

struct TokenRange {
  int64_t first = 0, end = 0;
  int64_t size() const { return end - first; }
};

struct DriftMeans {
  Mean drift, distance;
  Drift get() const { return {drift.get(), distance.get()}; }
};

/// Drift of keys or of values, over the layers as they come.
class DriftSums {
 public:
  /// `generated`: those of each stage, rising; the last are all. They stand behind `prompt` others.
  DriftSums(int64_t prompt, std::vector<int64_t> generated);

  /// Returns the layer's own, of all generated tokens.
  Drift add(const HalfData& x);

  Drift stage(size_t i) const { return stages_[i].get(); }
  double distance(size_t token) const { return tokens_[token].distance.get(); }  ///< of one generated token
  double norm(size_t token) const { return tokens_[token].norm.get(); }

 private:
  struct TokenMeans {
    Mean distance, norm;
  };
  void add_head(const HalfData& x, int64_t head, DriftMeans& layer);

  int64_t prompt_;
  std::vector<int64_t> generated_;
  std::vector<DriftMeans> stages_;
  std::vector<TokenMeans> tokens_;
};

}  // namespace kvviz::analysis
