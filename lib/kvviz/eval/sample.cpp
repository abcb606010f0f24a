// SPDX-License-Identifier: MIT
#include "kvviz/eval/sample.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

size_t largest(std::span<const float> logits) {
  for (const float logit : logits)
    require(logit < std::numeric_limits<float>::infinity(), "a logit is ", logit,
            "; the model computes NaN or infinity on this text");
  const auto best = std::ranges::max_element(logits);
  require(best != logits.end() && std::isfinite(*best), "no token has a finite logit; the model is broken");
  return static_cast<size_t>(best - logits.begin());
}

void scale_to_one(std::vector<TokenChance>& all) {
  const double sum = std::accumulate(all.begin(), all.end(), 0.0,
                                     [](double s, const TokenChance& c) { return s + c.probability; });
  for (TokenChance& one : all) one.probability /= sum;
}

/// Entries until `share` is reached, the one that reaches it among them.
size_t nucleus(std::span<const TokenChance> all, double share) {
  double sum = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    sum += all[i].probability;
    if (sum >= share) return i + 1;
  }
  return all.size();
}

}  // namespace

void validate(const SamplingOptions& o) {
  require<UsageError>(o.temperature >= 0 && std::isfinite(o.temperature), "--temperature ", o.temperature,
                      ": expected a number of 0 or more");
  require<UsageError>(o.top_k >= 0, "--top-k ", o.top_k, ": expected 0 (all tokens) or more");
  require<UsageError>(o.top_p > 0 && o.top_p <= 1, "--top-p ", o.top_p,
                      ": expected a share above 0, at most 1");
  require<UsageError>(o.temperature > 0 || (o.top_k == 0 && o.top_p == 1),
                      "got --top-k or --top-p at --temperature 0, which always takes the most likely token; "
                      "give a --temperature above 0");
}

std::vector<TokenChance> candidates(std::span<const float> logits, const SamplingOptions& o) {
  const size_t best = largest(logits);
  if (o.temperature == 0) return {{static_cast<int32_t>(best), 1.0}};
  std::vector<TokenChance> all(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    all[i] = {static_cast<int32_t>(i),
              std::exp((static_cast<double>(logits[i]) - static_cast<double>(logits[best])) / o.temperature)};
  const auto kept = o.top_k > 0 ? std::min(o.top_k, std::ssize(all)) : std::ssize(all);
  std::partial_sort(
      all.begin(), all.begin() + kept, all.end(), [&](const TokenChance& a, const TokenChance& b) {
        const float x = logits[static_cast<size_t>(a.token)], y = logits[static_cast<size_t>(b.token)];
        return x != y ? x > y : a.token < b.token;
      });
  all.resize(static_cast<size_t>(kept));
  scale_to_one(all);
  if (o.top_p < 1) {
    all.resize(nucleus(all, o.top_p));
    scale_to_one(all);
  }
  return all;
}

double probability(std::span<const float> logits, int32_t token) {
  const auto most = static_cast<double>(logits[largest(logits)]);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
  return std::exp(static_cast<double>(logits[static_cast<size_t>(token)]) - most) / sum;
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) {
  validate(options);
}

int32_t Sampler::draw(std::span<const float> logits) {
  const auto all = candidates(logits, options_);
  if (all.size() == 1 && options_.temperature == 0) return all.front().token;
  const double drawn = static_cast<double>(random_() >> 11U) * 0x1p-53;
  double sum = 0;
  for (const TokenChance& one : all) {
    sum += one.probability;
    if (drawn < sum) return one.token;
  }
  return all.back().token;  // rounding left the sum below 1
}

}  // namespace kvviz
