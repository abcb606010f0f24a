// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/analyze.hpp"
#include "kvviz/engine/generation_run.hpp"
#include "kvviz/report/nearest.hpp"

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
    std::vector<std::string> all{"all"};
    for (const auto& [part, member] : parts) all.emplace_back(part);
    const std::string meant = known ? "" : likely_meant(name, all);
    require<UsageError>(known, "--focus ", name,
                        ": expected all, layers, heads, tokens, embeddings, attention or distribution",
                        meant.empty() ? "" : cat("; did you mean ", meant, "?"));
  }
  return focus;
}

Analyses run_analyses(const Subject& subject, const AnalyzeOptions& options, const Focus& focus) {
  const KvView cache = subject.cache.view();
  const auto thresholds = analysis::legacy_thresholds(cache, options.legacy);
  const auto with_thresholds = [&](auto part) {
    part.thresholds = thresholds;
    return part;
  };
  Analyses done;
  if (focus.heads || focus.layers) done.heads = analysis::heads(cache, with_thresholds(options.heads));
  if (focus.layers) done.layers = analysis::layers(cache, with_thresholds(options.layers), *done.heads);
  if (focus.needs_attention() && !subject.attention.empty()) done.attention = attention_of(subject, options);
  if (focus.tokens && focus.each_token) {
    const auto options_of_tokens = with_thresholds(analysis::TokensOptions{.legacy = options.legacy});
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

analysis::GenerationStudy generation_after(const Runner& runner, const Subject& subject,
                                           const AnalyzeOptions& options) {
  const auto& ids = subject.cache.tokens.ids;
  const int64_t room = runner.model.decoder.config().context - options.generate;
  const auto prompt =
      std::clamp<int64_t>(static_cast<int64_t>(ids.size()) / 2, 1, std::min<int64_t>(64, room));
  return generate_in_full(runner, {.prompt = std::span(ids).first(static_cast<size_t>(prompt)),
                                   .tokens = options.generate,
                                   .sampling = {},
                                   .stages = {},
                                   .legacy = options.legacy,
                                   .quiet = options.call.quiet})
      .study;
}

}  // namespace kvviz
