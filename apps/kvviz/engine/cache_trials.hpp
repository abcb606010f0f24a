// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/cache_outcome.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/eval/split_text.hpp"

namespace kvviz {

/// A change of a prefix's cache that is judged by what the model then predicts: one evaluation for
/// `compress`, `prune` and `tucker`.
struct CacheTrial {
  std::string name, family, summary;  ///< of its CacheOutcome
  /// Of a prefix's cache, one layer an entry, keys in the basis of the text's cache.
  std::function<std::vector<ChangedLayer>(const SplitText&)> change;
  /// Of a layer of a whole text whose tokens are changed as they are written; empty: cannot be.
  std::function<ChangedLayer(size_t layer, const LayerKv&)> write;
};

struct TrialOptions {
  int64_t prefix = 0;   ///< tokens whose cache is changed; 0: half of each text
  int64_t windows = 1;  ///< into which the rest of a text is cut; each goes on after a cache of all before it
  KeyBasis basis = KeyBasis::post_rope;  ///< of the keys that are changed
  bool streaming = false;                ///< every token is changed as it is written, and all are predicted
  bool no_timings = false;
  std::string doing = "changing the caches";  ///< of the progress
  bool quiet = false;
};

/// A prefix and the end of the continuation that is read behind it.
struct TrialWindow {
  int64_t prefix = 0, end = 0;
};

/// The windows of a text: prefix + i (tokens - prefix) / windows. Throws UsageError when one of them leaves
/// nothing to predict.
std::vector<TrialWindow> windows_of(const TextInput& text, const TrialOptions& options);

/// Every trial on every window of every text, or, streaming, on every text as a whole. Bytes and errors are
/// means over the windows; predictions of a text's windows count together. Throws UsageError as windows_of(),
/// and for keys before RoPE in a model without.
std::vector<analysis::CacheOutcome> run_trials(const Runner& runner, std::span<const TextInput> texts,
                                               std::span<const CacheTrial> trials,
                                               const TrialOptions& options);

/// Bytes and errors of a change of a cache alone, of which no model predicts anything.
analysis::CacheOutcome coding_outcome(const CacheTrial& trial, std::span<const ChangedLayer> changed,
                                      std::span<const LayerKv> cache);

}  // namespace kvviz
