// SPDX-License-Identifier: MIT
#include "kvviz/engine/sink_run.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "kvviz/attention/attention.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/tokenizer/utf8.hpp"

namespace kvviz {
namespace {

using analysis::LayerSinks;
using analysis::TokenKind;

std::vector<TokenKind> kinds_of(const TextInput& text, const Tokenizer& tokenizer) {
  std::vector<TokenKind> kinds;
  for (size_t i = 0; i < text.tokens.ids.size(); ++i) {
    const std::string& piece = text.tokens.text[i];
    const bool blank = piece.find_first_not_of(" \t\r\n") == std::string::npos;
    if (text.tokens.ids[i] == tokenizer.bos())
      kinds.push_back(TokenKind::bos);
    else if (blank && piece.find('\n') != std::string::npos)
      kinds.push_back(TokenKind::newline);
    else
      kinds.push_back(is_punctuation(piece) ? TokenKind::punctuation : TokenKind::other);
  }
  return kinds;
}

// Counts are summed; masses and norms are weighted by the texts, norms of sink keys by these.
void add(LayerSinks& sum, const LayerSinks& one, double texts) {
  for (size_t kind = 0; kind < analysis::token_kind_count; ++kind) {
    sum.sink_keys[kind] += one.sink_keys[kind];
    sum.kind_tokens[kind] += one.kind_tokens[kind];
    sum.mass[kind] += one.mass[kind] / texts;
  }
  sum.tokens += one.tokens;
  sum.k_norm_first += one.k_norm_first / texts;
  sum.k_norm_rest += one.k_norm_rest / texts;
  sum.v_norm_first += one.v_norm_first / texts;
  sum.v_norm_rest += one.v_norm_rest / texts;
  if (one.norm_keys == 0) return;
  const auto before = static_cast<double>(sum.norm_keys), now = static_cast<double>(one.norm_keys);
  const auto merge = [&](double& mean, double other) {
    mean = ((before > 0 ? mean * before : 0) + other * now) / (before + now);
  };
  merge(sum.k_norm_sinks, one.k_norm_sinks);
  merge(sum.v_norm_sinks, one.v_norm_sinks);
  sum.norm_keys += one.norm_keys;
}

struct OneText {
  std::vector<LayerSinks> layers;
  std::vector<std::vector<kernels::HeadAttention>> maps;
};

OneText run_text(const Decoder& decoder, const TextInput& text, std::span<const TokenKind> kinds,
                 const analysis::SinkOptions& options, int64_t map_bins) {
  const at::NoGradGuard no_grad;
  kernels::AttentionRequest request = analysis::sink_request(options);
  request.map_bins = map_bins;
  OneText one;
  const auto attend = [&](const LayerQkv& x) {
    std::vector<kernels::HeadAttention> heads;
    const at::Tensor out = streaming_attention(x.query, x.key, x.value, x.spec, request, &heads);
    const LayerKv cache{.key = x.key[0], .value = x.value[0]};
    const analysis::AttentionLayer measured{.heads = heads,
                                            .kv_heads = cache.kv_heads(),
                                            .queries = cache.tokens(),
                                            .keys = cache.tokens(),
                                            .window = x.spec.window};
    one.layers.push_back(analysis::sink_layer(x.layer, measured, analysis::norms_of(cache), kinds, options));
    auto& maps = one.maps.emplace_back();
    for (auto& head : heads) maps.push_back({.map = std::move(head.map)});
    return out;
  };
  const auto& ids = text.tokens.ids;
  const at::Tensor input = at::empty({1, static_cast<int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), input.data_ptr<int64_t>());
  decoder.hidden(input, {}, attend);
  return one;
}

}  // namespace

SinkRun run_texts(const Runner& runner, std::span<const TextInput> texts, const SinksOptions& options) {
  SinkRun run;
  run.study.lengths = options.lengths;
  Progress progress("running the texts", static_cast<int64_t>(texts.size()), options.call.quiet);
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto kinds = kinds_of(texts[i], *runner.tokenizer);
    OneText one =
        run_text(runner.model.decoder, texts[i], kinds, options.sinks, i == 0 ? options.map_bins : 0);
    run.study.prompts.push_back(
        analysis::prompt_sinks(texts[i].description, one.layers, options.sinks, options.lengths));
    run.tokens.push_back(static_cast<int64_t>(texts[i].tokens.ids.size()));
    if (i == 0) {
      run.maps = std::move(one.maps);
      for (const LayerSinks& layer : one.layers) {
        for (const auto& head : layer.heads) run.study.heads.push_back({head.layer, head.head, head.kv_head});
        run.layers.push_back({.layer = layer.layer,
                              .kv_heads = layer.kv_heads,
                              .k_norm_first = 0,
                              .k_norm_rest = 0,
                              .v_norm_first = 0,
                              .v_norm_rest = 0});
      }
    }
    for (size_t l = 0; l < one.layers.size(); ++l)
      add(run.layers[l], one.layers[l], static_cast<double>(texts.size()));
    progress.update(static_cast<int64_t>(i) + 1);
  }
  run.origin = origin_of_all(runner, texts);
  return run;
}

}  // namespace kvviz
