// SPDX-License-Identifier: MIT
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/analyze.hpp"
#include "kvviz/model/session.hpp"

namespace kvviz {
namespace {

analysis::AttentionResult attention_of(const Subject& subject, const AnalyzeOptions& options) {
  std::vector<analysis::AttentionLayer> layers;
  for (size_t i = 0; i < subject.attention.size(); ++i) {
    const LayerKv& layer = subject.cache.layers[i];
    layers.push_back({.heads = subject.attention[i],
                      .kv_heads = layer.kv_heads(),
                      .queries = layer.tokens(),
                      .keys = layer.tokens(),
                      .window = layer.window,
                      .value_norms = analysis::value_norms(layer)});
  }
  return analysis::attention(layers, options.attention);
}

double rms(const LayerKv& layer, analysis::Half half, int64_t first, int64_t tokens) {
  const at::Tensor& x = half == analysis::Half::key ? layer.key : layer.value;
  return x.narrow(1, first, tokens).to(at::kDouble).square().mean().item<double>();
}

// Root of the mean square over all layers of the tokens from `first` on.
double rms(const KvCache& cache, analysis::Half half, int64_t first, int64_t tokens) {
  if (tokens == 0) return analysis::kNone;
  double sum = 0;
  for (const LayerKv& layer : cache.layers) sum += rms(layer, half, first, tokens);
  return std::sqrt(sum / static_cast<double>(cache.layers.size()));
}

struct SparsityMeans {
  double k = analysis::kNone, v = analysis::kNone;
};

SparsityMeans mean_sparsity(const analysis::TokensResult& tokens, int64_t first) {
  const auto rows = std::span(tokens.rows).subspan(static_cast<size_t>(first));
  if (rows.empty()) return {};
  SparsityMeans means{0, 0};
  for (const auto& row : rows) {
    means.k += row.legacy_k_sparsity / static_cast<double>(rows.size());
    means.v += row.legacy_v_sparsity / static_cast<double>(rows.size());
  }
  return means;
}

figures::GenerationStage stage_of(const std::string& name, KvCache cache, int64_t prompt,
                                  const analysis::LegacyThresholds& thresholds) {
  const int64_t tokens = cache.layers.front().tokens();
  cache.tokens.ids.resize(static_cast<size_t>(tokens));
  analysis::TokensOptions options;
  options.thresholds = thresholds;  // one threshold for all stages, or they could not be compared
  const auto measured = analysis::tokens(cache.view(), options);
  const SparsityMeans all = mean_sparsity(measured, 0), fresh = mean_sparsity(measured, prompt);
  return {.name = name,
          .cache_tokens = tokens,
          .bytes = cache.bytes(),
          .legacy_k_sparsity = all.k,
          .legacy_v_sparsity = all.v,
          .legacy_k_sparsity_new = fresh.k,
          .legacy_v_sparsity_new = fresh.v,
          .k_rms = rms(cache, analysis::Half::key, 0, prompt),
          .v_rms = rms(cache, analysis::Half::value, 0, prompt),
          .k_rms_new = rms(cache, analysis::Half::key, prompt, tokens - prompt),
          .v_rms_new = rms(cache, analysis::Half::value, prompt, tokens - prompt)};
}

}  // namespace

Focus parse_focus(const std::vector<std::string>& names) {
  Focus focus;
  const std::pair<const char*, bool Focus::*> parts[] = {
      {"layers", &Focus::layers},       {"heads", &Focus::heads},
      {"tokens", &Focus::tokens},       {"embeddings", &Focus::embeddings},
      {"attention", &Focus::attention}, {"distribution", &Focus::distribution}};
  for (const std::string& name : names) {
    bool known = false;
    for (const auto& [part, member] : parts) {
      if (name != "all" && name != part) continue;
      focus.*member = true;
      known = true;
    }
    require<UsageError>(known, "--focus ", name,
                        ": expected all, layers, heads, tokens, embeddings, attention or distribution");
  }
  return focus;
}

Analyses run_analyses(const Subject& subject, const AnalyzeOptions& options, const Focus& focus) {
  const KvView cache = subject.cache.view();
  const auto thresholds = analysis::legacy_thresholds(cache, options.legacy);
  const auto with_thresholds = [&](auto part) {
    part.legacy = options.legacy;
    part.thresholds = thresholds;
    return part;
  };
  Analyses done;
  if (focus.heads || focus.layers) done.heads = analysis::heads(cache, with_thresholds(options.heads));
  if (focus.layers) {
    auto of_layers = with_thresholds(options.layers);
    of_layers.small_eps = options.heads.small_eps;  // one option for both
    done.layers = analysis::layers(cache, of_layers, *done.heads);
  }
  if (focus.needs_attention() && !subject.attention.empty()) done.attention = attention_of(subject, options);
  if (focus.tokens) {
    const auto options_of_tokens = with_thresholds(analysis::TokensOptions{});
    if (done.attention) {
      const auto received = analysis::token_attention(*done.attention);
      done.tokens = analysis::tokens(cache, options_of_tokens, &received);
    } else {
      done.tokens = analysis::tokens(cache, options_of_tokens);
    }
  }
  if (focus.embeddings) done.channels = analysis::channels(cache, with_thresholds(options.channels));
  if (focus.distribution)
    done.distribution = analysis::distribution(cache, with_thresholds(options.distribution));
  return done;
}

figures::GenerationStages generation_stages(const Runner& runner, const Subject& subject,
                                            const AnalyzeOptions& options) {
  const Decoder& decoder = runner.model.decoder;
  const auto& ids = subject.cache.tokens.ids;
  const int64_t room = decoder.config().context - options.generate;
  const auto prompt =
      std::clamp<int64_t>(static_cast<int64_t>(ids.size()) / 2, 1, std::min<int64_t>(64, room));
  Session session(decoder);
  at::Tensor hidden = session.extend(std::span(ids).first(static_cast<size_t>(prompt)));
  std::vector<int32_t> generated;
  for (int64_t step = 0; step < options.generate; ++step) {
    const int32_t token = next_token(decoder, hidden);
    if (runner.tokenizer->eos() && token == *runner.tokenizer->eos()) break;
    generated.push_back(token);
    hidden = session.extend(std::span(&generated.back(), 1));
  }
  const auto made = static_cast<int64_t>(generated.size());
  const auto thresholds = analysis::legacy_thresholds(session.cache(session.tokens()).view(), options.legacy);
  figures::GenerationStages stages;
  const std::pair<const char*, int64_t> moments[] = {
      {"prefill", 0}, {"early", std::max<int64_t>(1, made / 5)}, {"mid", made / 2}, {"late", made}};
  int64_t shown = -1;
  for (const auto& [name, after] : moments) {
    if (after <= shown || after > made) continue;  // too few tokens for four different moments
    stages.stages.push_back(stage_of(name, session.cache(prompt + after), prompt, thresholds));
    shown = after;
  }
  stages.generated_text = runner.tokenizer->decode(generated);
  return stages;
}

}  // namespace kvviz
