// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "kvviz/engine/text_run.hpp"

namespace kvviz {

/// How changes of caches are judged.
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

/// The windows of a text of so many tokens: prefix + i (tokens - prefix) / windows. Throws DataError for a
/// text that is too short for any, UsageError when the options leave nothing of it to predict.
std::vector<TrialWindow> windows_of(const std::string& name, int64_t tokens, const TrialOptions& options);

/// Throws UsageError for keys before RoPE in a model without.
void check_basis(const ModelConfig& model, const TrialOptions& options);

/// TextRun(request). What its check throws as a UsageError makes that text fail; where it does so for every
/// text, the command line is wrong: the UsageError of the longest is thrown.
std::unique_ptr<TextRun> open_trial_texts(TextRun::Request request);

}  // namespace kvviz
