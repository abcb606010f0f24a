// SPDX-License-Identifier: MIT
#include "kvviz/eval/sink_reuse.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <chrono>

#include "kvviz/attention/attention.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool replaces(SinkSubstitute substitute, int layer) {
  return substitute != SinkSubstitute::first_layer || layer > 0;
}

/// Heads whose flag is `flagged`.
at::Tensor heads_with(const std::vector<bool>& flags, bool flagged) {
  std::vector<int64_t> heads;
  for (size_t h = 0; h < flags.size(); ++h)
    if (flags[h] == flagged) heads.push_back(static_cast<int64_t>(h));
  return at::tensor(heads, at::kLong);
}

at::Tensor full_attention(const LayerQkv& x) {
  return streaming_attention(x.query, x.key, x.value, x.spec, {}, nullptr);
}

/// The softmax weights of the heads in `heads`, [1, heads, tokens, tokens].
at::Tensor patterns_of(const LayerQkv& x, const at::Tensor& heads) {
  const at::Tensor kv = heads.div(x.query.size(1) / x.key.size(1), "floor");
  at::Tensor weights;
  eager_attention(x.query.index_select(1, heads), x.key.index_select(1, kv), x.value.index_select(1, kv),
                  x.spec, &weights);
  return weights;
}

class Replacement {
 public:
  Replacement(const ModelConfig& config, SinkSubstitute substitute, const HeadFlags& flags)
      : substitute_(substitute), flags_(flags) {
    require(flags.size() == config.layers.size(), "flags of ", flags.size(), " layers; the model has ",
            config.layers.size());
    const int64_t heads = config.layers.front().heads;
    for (size_t l = 0; l < flags.size(); ++l) {
      require(std::ssize(flags[l]) == config.layers[l].heads, "flags of ", flags[l].size(),
              " heads in layer ", l, "; it has ", config.layers[l].heads);
      require(substitute != SinkSubstitute::first_layer || config.layers[l].heads == heads,
              "layers differ in their query heads: the first layer's patterns have no counterpart in layer ",
              l);
    }
    needed_.assign(static_cast<size_t>(heads), false);
    for (size_t l = 1; l < flags.size(); ++l)
      for (size_t h = 0; h < needed_.size() && h < flags[l].size(); ++h)
        needed_[h] = needed_[h] || flags[l][h];
  }

  at::Tensor attend(const LayerQkv& x) {
    const std::vector<bool>& flags = flags_[static_cast<size_t>(x.layer)];
    const bool reuse = substitute_ == SinkSubstitute::first_layer;
    if (reuse && x.layer == 0 && std::ranges::count(needed_, true) > 0)
      patterns_ = patterns_of(x, heads_with(needed_, true));
    if (!replaces(substitute_, x.layer) || std::ranges::count(flags, true) == 0) return full_attention(x);
    const at::Tensor replaced = heads_with(flags, true), kept = heads_with(flags, false);
    const int64_t group = x.query.size(1) / x.key.size(1);
    at::Tensor out = at::zeros({1, x.query.size(2), x.query.size(1), x.value.size(3)}).transpose(1, 2);
    if (kept.numel() > 0) {
      const at::Tensor kv = kept.div(group, "floor");
      out.index_copy_(1, kept,
                      streaming_attention(x.query.index_select(1, kept), x.key.index_select(1, kv),
                                          x.value.index_select(1, kv), x.spec, {}, nullptr));
    }
    const at::Tensor value = x.value.index_select(1, replaced.div(group, "floor"));
    if (substitute_ == SinkSubstitute::first_key)
      out.index_copy_(1, replaced, value.narrow(2, 0, 1).expand(value.sizes()).contiguous());
    if (reuse) out.index_copy_(1, replaced, at::matmul(patterns_.index_select(1, stored(flags)), value));
    return out;
  }

 private:
  /// Where the patterns of the flagged heads lie in patterns_.
  at::Tensor stored(const std::vector<bool>& flags) const {
    std::vector<int64_t> places;
    int64_t place = 0;
    for (size_t h = 0; h < flags.size(); ++h) {
      if (flags[h]) places.push_back(place);
      place += needed_[h] ? 1 : 0;
    }
    return at::tensor(places, at::kLong);
  }

  SinkSubstitute substitute_;
  const HeadFlags& flags_;
  std::vector<bool> needed_;  // head indices whose first-layer pattern some later layer takes
  at::Tensor patterns_;
};

ReuseRun run(const Decoder& decoder, std::span<const int32_t> ids, const AttentionFn& attend) {
  const at::NoGradGuard no_grad;
  const at::Tensor input = at::empty({1, std::ssize(ids)}, at::kLong);
  std::copy(ids.begin(), ids.end(), input.data_ptr<int64_t>());
  ReuseRun result;
  const auto start = Clock::now();
  const auto timed = [&](const LayerQkv& x) {
    const auto before = Clock::now();
    at::Tensor out = attend(x);
    result.attention_seconds += seconds_since(before);
    return out;
  };
  result.hidden = decoder.hidden(input, 0, timed)[0];
  result.seconds = seconds_since(start);
  return result;
}

double visible_pairs(int64_t tokens, int64_t window) {
  const auto n = static_cast<double>(tokens), w = static_cast<double>(window);
  return window > 0 && window < tokens ? w * (w + 1) / 2 + (n - w) * w : n * (n + 1) / 2;
}

double linear_flops(const ModelConfig& config, const LayerConfig& layer, double tokens) {
  const auto hidden = static_cast<double>(config.hidden);
  const auto attention = static_cast<double>((2 * layer.heads + 2 * layer.kv_heads) * layer.head_dim);
  return 2 * tokens * hidden * (attention + (config.gated_mlp ? 3 : 2) * static_cast<double>(layer.mlp_dim));
}

}  // namespace

const char* name_of(SinkSubstitute substitute) {
  switch (substitute) {
    case SinkSubstitute::first_layer:
      return "first_layer";
    case SinkSubstitute::first_key:
      return "first_key";
    case SinkSubstitute::zero:
      return "zero";
  }
  return "";
}

AttentionCost attention_cost(const ModelConfig& config, int64_t tokens) {
  AttentionCost cost;
  const auto n = static_cast<double>(tokens);
  for (const LayerConfig& layer : config.layers) {
    cost.flops += 4 * static_cast<double>(layer.heads * layer.head_dim) * visible_pairs(tokens, layer.window);
    cost.model_flops += linear_flops(config, layer, n);
    cost.cache_bytes += 8 * n * static_cast<double>(layer.kv_heads * layer.head_dim);
  }
  cost.model_flops += cost.flops;
  return cost;
}

AttentionCost attention_cost(const ModelConfig& config, int64_t tokens, SinkSubstitute substitute,
                             const HeadFlags& flags) {
  AttentionCost cost = attention_cost(config, tokens);
  const auto n = static_cast<double>(tokens);
  const bool reuse = substitute == SinkSubstitute::first_layer;
  std::vector<bool> needed;
  for (size_t l = 0; l < flags.size(); ++l) {
    if (!replaces(substitute, static_cast<int>(l))) continue;
    const LayerConfig& layer = config.layers[l];
    const auto dim = static_cast<double>(layer.head_dim);
    const double head = 4 * dim * visible_pairs(tokens, layer.window);
    const int64_t group = layer.heads / layer.kv_heads;
    needed.resize(std::max(needed.size(), flags[l].size()));
    for (size_t h = 0; h < flags[l].size(); ++h) {
      if (!flags[l][h]) continue;
      needed[h] = true;
      const double saved = reuse ? head / 2 : head;
      cost.flops -= saved;
      cost.model_flops -= saved;
    }
    for (int64_t kv = 0; kv < layer.kv_heads; ++kv) {
      const auto first = flags[l].begin() + kv * group;
      if (std::count(first, first + group, true) != group) continue;
      const double all = 8 * n * dim, one = 8 * dim;
      cost.cache_bytes -= reuse ? all / 2 : substitute == SinkSubstitute::zero ? all : all - one;
    }
  }
  if (reuse) cost.pattern_bytes = 4 * n * n * static_cast<double>(std::ranges::count(needed, true));
  return cost;
}

ReuseRun run_full(const Decoder& decoder, std::span<const int32_t> ids) {
  return run(decoder, ids, full_attention);
}

ReuseRun run_replaced(const Decoder& decoder, std::span<const int32_t> ids, SinkSubstitute substitute,
                      const HeadFlags& flags) {
  Replacement replacement(decoder.config(), substitute, flags);
  return run(decoder, ids, [&](const LayerQkv& x) { return replacement.attend(x); });
}

}  // namespace kvviz
