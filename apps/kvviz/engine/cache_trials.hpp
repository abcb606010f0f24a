// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/cache_outcome.hpp"
#include "kvviz/engine/trial_texts.hpp"
#include "kvviz/eval/compare.hpp"
#include "kvviz/eval/split_text.hpp"

namespace kvviz {

/// A change of a prefix's cache that is judged by what the model then predicts: one evaluation for
/// `compress`, `prune` and `tucker`.
struct CacheTrial {
  /// Of a prefix's cache, one layer an entry, keys in the basis of the text's cache.
  std::function<std::vector<ChangedLayer>(const SplitText&)> change;
  /// Of a layer of a whole text whose tokens are changed as they are written; empty: cannot be.
  std::function<ChangedLayer(size_t layer, const LayerKv&)> write;
  bool by_head = true;  ///< errors of the attention output are kept by query head, not by layer alone
};

/// Of the CacheOutcome of a trial.
struct TrialName {
  std::string name, family, summary;
};

/// Sums over the windows of one layer.
struct TrialLayerSums {
  double key_error = 0, value_error = 0, output_error = 0, bytes = 0;
  std::vector<double> head_output_error;  ///< [query heads]; empty: not by head
};

/// What a trial did to one text, added up over its windows: what is kept of it.
struct TrialSums {
  BlockScores scores;  ///< of all windows
  std::vector<TrialLayerSums> layers;
  double payload = 0, metadata = 0, workspace = 0, f16 = 0, tokens = 0, seconds = 0;
  int64_t windows = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrialLayerSums, key_error, value_error, output_error, bytes,
                                   head_output_error)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrialSums, scores, layers, payload, metadata, workspace, f16, tokens,
                                   seconds, windows)

/// Every trial on every window of a text, or, streaming, on the text as a whole. The trials may hold on to
/// what they know of the text: make new ones for each. Throws as windows_of().
std::vector<TrialSums> trial_sums(const Decoder& decoder, const TextInput& text,
                                  std::span<const CacheTrial> trials, const TrialOptions& options);

/// The trials' outcomes over all texts: bytes and errors are means over the windows of all texts; predictions
/// of a text's windows count together.
class TrialOutcomes {
 public:
  explicit TrialOutcomes(std::vector<TrialName> names);

  /// One text's sums, a trial an entry. The order of the texts decides the last digits.
  void add(std::span<const TrialSums> text);
  /// Throws DataError when no prediction is left. A warning on stderr where there are few, unless quiet.
  std::vector<analysis::CacheOutcome> outcomes(const TrialOptions& options) const;

 private:
  std::vector<TrialName> names_;
  std::vector<TrialSums> sums_;                   ///< without scores
  std::vector<std::vector<BlockScores>> scores_;  ///< [trial][text]
};

/// The trials' outcomes on one text.
std::vector<analysis::TextOutcome> text_outcomes(const TextRun::Record& text,
                                                 std::span<const TrialSums> sums);

/// Bytes and errors of a change of a cache alone, of which no model predicts anything.
analysis::CacheOutcome coding_outcome(const TrialName& name, std::span<const ChangedLayer> changed,
                                      std::span<const LayerKv> cache);

}  // namespace kvviz
