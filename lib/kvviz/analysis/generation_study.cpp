// SPDX-License-Identifier: MIT
#include "kvviz/analysis/generation_study.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "kvviz/stats/channels.hpp"

namespace kvviz::analysis {
namespace {

/// Of a full cache, mean over KV heads.
double held_keys(const CacheShape& shape, int64_t tokens) {
  int64_t keys = 0, heads = 0;
  for (const CacheLayer& layer : shape.layers) {
    keys += layer.kv_heads * (layer.window > 0 ? std::min(tokens, layer.window) : tokens);
    heads += layer.kv_heads;
  }
  return static_cast<double>(keys) / static_cast<double>(heads);
}

}  // namespace

AttentionShares& operator+=(AttentionShares& a, const AttentionShares& b) {
  a.first += b.first;
  a.prompt += b.prompt;
  a.generated += b.generated;
  a.self += b.self;
  return a;
}

AttentionShares operator*(double factor, AttentionShares s) {
  return {factor * s.first, factor * s.prompt, factor * s.generated, factor * s.self};
}

AttentionShares attention_shares(std::span<const double> weights, int64_t prompt) {
  assert(prompt >= 1 && std::ssize(weights) > prompt);
  const auto sum = [&](int64_t first, int64_t end) {
    return std::accumulate(weights.begin() + first, weights.begin() + end, 0.0);
  };
  return {.first = weights.front(),
          .prompt = sum(1, prompt),
          .generated = sum(prompt, std::ssize(weights) - 1),
          .self = weights.back()};
}

AttentionShares uniform_shares(int64_t keys, int64_t prompt, int64_t window) {
  assert(prompt >= 1 && keys > prompt);
  const int64_t seen = window > 0 ? std::min(keys, window) : keys;
  const auto share = [&](int64_t first, int64_t end) {
    const int64_t of_them = std::max<int64_t>(end - std::max(first, keys - seen), 0);
    return static_cast<double>(of_them) / static_cast<double>(seen);
  };
  return {.first = share(0, 1),
          .prompt = share(1, prompt),
          .generated = share(prompt, keys - 1),
          .self = share(keys - 1, keys)};
}

AttentionShares mean_shares(const GenerationStep& step) {
  AttentionShares mean;
  for (const auto& heads : step.attention)
    for (const AttentionShares& head : heads)
      mean += (1 / static_cast<double>(heads.size() * step.attention.size())) * head;
  return mean;
}

AttentionShares mean_shares(std::span<const GenerationStep> steps, size_t layer) {
  AttentionShares mean;
  for (const GenerationStep& step : steps)
    for (const AttentionShares& head : step.attention[layer])
      mean += (1 / static_cast<double>(step.attention[layer].size() * steps.size())) * head;
  return mean;
}

AttentionShares mean_shares(std::span<const GenerationStep> steps, size_t layer, size_t head) {
  AttentionShares mean;
  for (const GenerationStep& step : steps)
    mean += (1 / static_cast<double>(steps.size())) * step.attention[layer][head];
  return mean;
}

EvictedText full_text(const GenerationStudy& study) {
  EvictedText text{.policy = "full",
                   .budget = "1.0",
                   .text = study.text,
                   .pieces = {},
                   .equal = study.cache.end.generated,
                   .divergence = {},
                   .stopped = study.stopped,
                   .held = {},
                   .seconds = study.step_seconds()};
  for (const GenerationStep& step : study.steps) text.pieces.push_back(step.text);
  for (int64_t tokens = study.cache.prompt; tokens <= study.cache.end.tokens; ++tokens) {
    const int64_t bytes = f16_bytes(study.cache.shape, tokens);
    text.held.push_back({held_keys(study.cache.shape, tokens), bytes, 0, bytes});
  }
  return text;
}

double GenerationStudy::step_seconds() const {
  std::vector<double> all;
  for (const GenerationStep& step : steps) all.push_back(step.seconds);
  std::erase_if(all, [](double seconds) { return !std::isfinite(seconds); });
  return stats::median(std::move(all));
}

}  // namespace kvviz::analysis
