// SPDX-License-Identifier: MIT
#include "kvviz/eval/sink_reuse.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <numeric>
#include <utility>

#include "kvviz/attention/attention.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/seconds_since.hpp"
#include "kvviz/eval/first_layer_patterns.hpp"
#include "kvviz/eval/head_copies.hpp"
#include "kvviz/model/token_ids.hpp"

namespace kvviz {
namespace {

using Clock = std::chrono::steady_clock;

at::Tensor full_attention(const LayerQkv& x) {
  return streaming_attention(x.query, x.key, x.value, x.spec, {}, nullptr);
}

/// Query heads with their KV heads: one for each, or one for each equal number of them.
struct Heads {
  std::vector<int64_t> query, kv;
};

/// What happens to the heads of one layer.
struct LayerPlan {
  Heads replaced;  // a KV head for each query head
  /// The others by how many query heads their KV head keeps: streaming attention shares a KV head among the
  /// same number of query heads everywhere.
  std::map<int64_t, Heads> kept;
};

LayerPlan plan_of(const LayerConfig& layer, const std::vector<bool>& flags) {
  LayerPlan plan;
  const int64_t group = layer.heads / layer.kv_heads;
  for (int64_t kv = 0; kv < layer.kv_heads; ++kv) {
    std::vector<int64_t> kept;
    for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
      if (!flags[static_cast<size_t>(head)]) {
        kept.push_back(head);
        continue;
      }
      plan.replaced.query.push_back(head);
      plan.replaced.kv.push_back(kv);
    }
    if (kept.empty()) continue;
    Heads& heads = plan.kept[std::ssize(kept)];
    heads.query.insert(heads.query.end(), kept.begin(), kept.end());
    heads.kv.push_back(kv);
  }
  return plan;
}

void check_flags(const ModelConfig& config, SinkSubstitute substitute, const HeadFlags& flags) {
  require(flags.size() == config.layers.size(), "flags of ", flags.size(), " layers; the model has ",
          config.layers.size());
  for (size_t l = 0; l < flags.size(); ++l) {
    const int64_t heads = config.layers[l].heads;
    require(std::ssize(flags[l]) == heads, "flags of ", flags[l].size(), " heads in layer ", l, "; it has ",
            heads);
    require(substitute != SinkSubstitute::first_layer || heads == config.layers.front().heads,
            "layers differ in their query heads: the first layer's patterns have no counterpart in layer ",
            l);
  }
}

class ReuseAttention {
 public:
  ReuseAttention(const ModelConfig& config, SinkSubstitute substitute, const HeadFlags& flags,
                 int64_t pattern_limit)
      : substitute_(substitute), pattern_limit_(pattern_limit) {
    check_flags(config, substitute, flags);
    for (size_t l = 0; l < flags.size(); ++l) plans_.push_back(plan_of(config.layers[l], flags[l]));
    if (substitute != SinkSubstitute::first_layer) return;
    plans_.front() = {};
    for (const LayerPlan& plan : plans_)
      stored_.insert(stored_.end(), plan.replaced.query.begin(), plan.replaced.query.end());
    std::ranges::sort(stored_);
    stored_.erase(std::unique(stored_.begin(), stored_.end()), stored_.end());
  }

  at::Tensor attend(const LayerQkv& x) {
    require<std::logic_error>(x.query.size(2) == x.key.size(2), "sink reuse takes whole texts");
    const LayerPlan& plan = plans_[static_cast<size_t>(x.layer)];
    at::Tensor out;
    if (x.layer == 0 && !stored_.empty()) {
      check_memory(x.query.size(2));
      out = patterns_.attend(x, stored_);
    } else {
      out = plan.replaced.query.empty() ? full_attention(x) : mixed_attention(x, plan);
    }
    if (x.layer + 1 == static_cast<int>(plans_.size())) patterns_.clear();
    return out;
  }

 private:
  at::Tensor mixed_attention(const LayerQkv& x, const LayerPlan& plan) {
    const at::Tensor out =
        at::empty({1, x.query.size(2), x.query.size(1), x.value.size(3)}, x.query.options()).transpose(1, 2);
    for (const auto& [count, heads] : plan.kept) {
      const at::Tensor attended =
          streaming_attention(query_.take(x.query, heads.query), key_.take(x.key, heads.kv),
                              value_.take(x.value, heads.kv), of_heads(x.spec, heads.query), {}, nullptr);
      std::vector<int64_t> places(heads.query.size());
      std::iota(places.begin(), places.end(), 0);
      copy_heads(attended, places, out, heads.query);
    }
    replace(x, plan.replaced, out);
    return out;
  }

  void check_memory(int64_t tokens) const {
    const int64_t bytes = FirstLayerPatterns::bytes(std::ssize(stored_), tokens);
    require(bytes <= pattern_limit_, "the first layer's patterns of ", stored_.size(), " heads over ", tokens,
            " tokens take ", bytes, " bytes; at most ", pattern_limit_,
            " may be kept: take shorter texts or fewer heads");
  }

  void replace(const LayerQkv& x, const Heads& heads, const at::Tensor& out) {
    const int64_t tokens = x.query.size(2);
    switch (substitute_) {
      case SinkSubstitute::first_layer:
        patterns_.multiply(heads.query, value_.take(x.value, heads.kv), out);
        break;
      case SinkSubstitute::first_key:
        copy_heads(x.value.narrow(2, 0, 1).expand({-1, -1, tokens, -1}), heads.kv, out, heads.query);
        break;
      case SinkSubstitute::zero: {
        const at::Tensor nothing = at::zeros({1, 1, 1, x.value.size(3)}).expand({-1, -1, tokens, -1});
        copy_heads(nothing, std::vector<int64_t>(heads.query.size(), 0), out, heads.query);
        break;
      }
    }
  }

  SinkSubstitute substitute_;
  int64_t pattern_limit_;
  std::vector<LayerPlan> plans_;
  std::vector<int64_t> stored_;  // head indices whose first-layer pattern some later layer takes
  FirstLayerPatterns patterns_;
  HeadStore query_, key_, value_;
};

ReuseRun run(const Decoder& decoder, std::span<const int32_t> ids, AttentionFn attend) {
  const at::NoGradGuard no_grad;
  const at::Tensor input = token_tensor(ids);
  ReuseRun result;
  const AttentionFn timed = timed_attention(std::move(attend), result.attention_seconds);
  const auto start = Clock::now();
  result.hidden = decoder.hidden(input, {}, timed)[0];
  result.seconds = seconds_since(start);
  return result;
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

AttentionFn make_reuse_attention(const ModelConfig& config, SinkSubstitute substitute, const HeadFlags& flags,
                                 int64_t pattern_limit) {
  const auto attention = std::make_shared<ReuseAttention>(config, substitute, flags, pattern_limit);
  return [attention](const LayerQkv& x) { return attention->attend(x); };
}

AttentionFn timed_attention(AttentionFn attend, double& seconds) {
  return [attend = std::move(attend), &seconds](const LayerQkv& x) {
    const auto start = Clock::now();
    at::Tensor out = attend(x);
    seconds += seconds_since(start);
    return out;
  };
}

ReuseRun run_full(const Decoder& decoder, std::span<const int32_t> ids) {
  return run(decoder, ids, full_attention);
}

ReuseRun run_replaced(const Decoder& decoder, std::span<const int32_t> ids, SinkSubstitute substitute,
                      const HeadFlags& flags, int64_t pattern_limit) {
  return run(decoder, ids, make_reuse_attention(decoder.config(), substitute, flags, pattern_limit));
}

}  // namespace kvviz
