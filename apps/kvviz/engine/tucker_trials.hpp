// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "kvviz/analysis/tucker_study.hpp"
#include "kvviz/compress/codec.hpp"
#include "kvviz/engine/cache_trials.hpp"
#include "kvviz/options.hpp"

namespace kvviz {

/// What a change did to the two halves of the caches, summed over layers and caches.
struct TuckerTally {
  double key_lost = 0, key_energy = 0, value_lost = 0, value_energy = 0;
  std::array<double, 3> ranks{};  ///< sums over the tensors; a family without ranks adds none
  int64_t tensors = 0;
};
void add(TuckerTally& sum, const TuckerTally& other);

/// Trials over the caches of one text and one key basis. A cache is decomposed at the ranks asked for, and
/// its spectra are computed, once, whichever trial comes first.
class TuckerTrials {
 public:
  explicit TuckerTrials(const TuckerOptions& options);

  /// The cache put together again: family as in analysis::TuckerOutcome, step of the sweep or 0 for the
  /// ranks asked for. Factors and cores are rounded to f16, and so is a half that --sides leaves out.
  std::vector<ChangedLayer> change(const KvCache& cache, std::string_view family, int step,
                                   TuckerTally& tally);

  /// Only this layer is decomposed, at the ranks asked for; the others are as they are.
  std::vector<ChangedLayer> change_layer(const KvCache& cache, int layer);

  const std::vector<analysis::TuckerPart>& parts() const { return parts_; }
  /// Decompositions of layer `layer` of the first cache.
  const std::vector<analysis::TuckerTensor>& components() const { return components_; }
  int64_t caches() const { return caches_; }
  double tokens() const { return tokens_; }  ///< sum over the caches

 private:
  struct Part {
    compress::Coded coded;
    double error = 0, energy = 0;
  };
  void look_at(const KvCache& cache);
  stats::Ranks ranks(int step, const stats::TensorView& x) const;
  std::vector<Part> coded(const KvCache& cache, std::span<const analysis::TuckerTensor> tensors) const;
  std::vector<Part> svd(const KvCache& cache, int step) const;
  std::vector<ChangedLayer> layers(const KvCache& cache, std::span<const Part> parts,
                                   TuckerTally& tally) const;

  TuckerOptions options_;
  analysis::Halves halves_;
  analysis::TuckerRanks asked_;
  int max_sweeps_;

  at::Tensor at_hand_;  ///< the first keys of the cache that these are of
  std::vector<analysis::TuckerTensor> tensors_;
  std::vector<stats::RankErrors> spectra_;
  std::vector<Part> restored_;

  std::vector<analysis::TuckerPart> parts_;
  std::vector<analysis::TuckerTensor> components_;
  int64_t caches_ = 0;
  double tokens_ = 0;
};

}  // namespace kvviz
