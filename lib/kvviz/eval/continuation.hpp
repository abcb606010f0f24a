// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>

#include "kvviz/eval/sample.hpp"
#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// How a text is continued. `extend` is that of a Session or of an EvictingSession that holds nothing yet.
struct ContinuationRequest {
  std::span<const int32_t> prompt;
  int64_t tokens = 0;  ///< most that are generated
  SamplingOptions sampling;
  std::optional<int32_t> stop;  ///< the end-of-text token; absent: nothing ends the text early
  std::function<at::Tensor(std::span<const int32_t>)> extend;
  /// After the prompt (0) and after each token has run through the model; not part of the measured seconds.
  std::function<void(int64_t generated)> after = {};
  /// Another text of the same prompt: its probabilities are measured for as long as this one is equal to it.
  std::span<const int32_t> other = {};
};

struct Continuation {
  std::vector<int32_t> ids;          ///< every token that was chosen, without the end-of-text token
  std::vector<double> probability;   ///< of each under the model, without temperature or cuts
  std::vector<double> other;         ///< of the other text's tokens, up to the first that differs
  bool stopped = false;              ///< the model chose the end-of-text token
  double prefill_seconds = 0;        ///< wall clock of the prompt
  std::vector<double> step_seconds;  ///< wall clock of each token: choosing it and running it through
};

/// Runs the prompt, then one token after the other. Every token of `ids` runs through the model, the last
/// too, so that a cache holds prompt + ids. Throws as Sampler and `extend` do, UsageError for an empty
/// prompt.
Continuation continue_text(const Decoder& decoder, const ContinuationRequest& request);

}  // namespace kvviz
