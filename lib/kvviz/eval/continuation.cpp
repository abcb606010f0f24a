// SPDX-License-Identifier: MIT
#include "kvviz/eval/continuation.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "kvviz/core/error.hpp"
#include "kvviz/core/seconds_since.hpp"

namespace kvviz {
namespace {

using Clock = std::chrono::steady_clock;

at::Tensor last_logits(const Decoder& decoder, const at::Tensor& hidden) {
  const at::NoGradGuard no_grad;
  return decoder.logits(hidden.narrow(0, hidden.size(0) - 1, 1)).to(at::kFloat).contiguous();
}

}  // namespace

Continuation continue_text(const Decoder& decoder, const ContinuationRequest& request) {
  require<UsageError>(!request.prompt.empty(), "an empty prompt; a text is continued from 1 token or more");
  Sampler sampler(request.sampling);
  Continuation made;
  auto start = Clock::now();
  at::Tensor hidden = request.extend(request.prompt);
  made.prefill_seconds = seconds_since(start);
  if (request.after) request.after(0);
  bool equal = true;
  for (int64_t step = 0; step < request.tokens; ++step) {
    start = Clock::now();
    const at::Tensor logits = last_logits(decoder, hidden);
    const std::span<const float> row(logits.data_ptr<float>(), static_cast<size_t>(logits.numel()));
    const int32_t token = sampler.draw(row);
    const auto i = static_cast<size_t>(step);
    if (equal && i < request.other.size()) {
      made.other.push_back(probability(row, request.other[i]));
      equal = token == request.other[i];
    }
    made.stopped = token == request.stop;
    if (made.stopped) break;
    made.ids.push_back(token);
    made.probability.push_back(probability(row, token));
    hidden = request.extend(std::span(&made.ids.back(), 1));
    made.step_seconds.push_back(seconds_since(start));
    if (request.after) request.after(step + 1);
  }
  return made;
}

}  // namespace kvviz
