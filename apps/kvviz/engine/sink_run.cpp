// SPDX-License-Identifier: MIT
#include "kvviz/engine/sink_run.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "kvviz/attention/attention.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/model/token_ids.hpp"
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

}  // namespace

namespace analysis {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HeadName, layer, head, kv_head)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PromptSinks, name, tokens, score, alpha_at, counts)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LayerSinks, layer, kv_heads, tokens, sink_keys, mass, kind_tokens,
                                   k_norm_first, k_norm_rest, v_norm_first, v_norm_rest, k_norm_sinks,
                                   v_norm_sinks, norm_keys)
}  // namespace analysis

namespace {

/// What is kept of one text.
struct SinkRecord {
  std::vector<analysis::HeadName> heads;
  analysis::PromptSinks prompt;
  std::vector<LayerSinks> layers;                      ///< heads and curves left out
  std::vector<std::vector<std::vector<double>>> maps;  ///< [layer][query head]; none where map_bins is 0
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SinkRecord, heads, prompt, layers, maps)

}  // namespace

nlohmann::json measure_sinks(const TextRun::Work& work, const SinksOptions& o, int64_t map_bins) {
  const auto kinds = kinds_of(work.text, *work.runner.tokenizer);
  kernels::AttentionRequest request = analysis::sink_request(o.sinks);
  request.map_bins = map_bins;
  SinkRecord record;
  const auto attend = [&](const LayerQkv& x) {
    std::vector<kernels::HeadAttention> heads;
    const at::Tensor out = streaming_attention(x.query, x.key, x.value, x.spec, request, &heads);
    const LayerKv cache{.key = x.key[0], .value = x.value[0]};
    const analysis::AttentionLayer measured{.heads = heads,
                                            .kv_heads = cache.kv_heads(),
                                            .queries = cache.tokens(),
                                            .keys = cache.tokens(),
                                            .window = x.spec.window};
    record.layers.push_back(
        analysis::sink_layer(x.layer, measured, analysis::norms_of(cache), kinds, o.sinks));
    if (map_bins > 0) {
      auto& maps = record.maps.emplace_back();
      for (auto& head : heads) maps.push_back(std::move(head.map));
    }
    return out;
  };
  const auto& ids = work.text.tokens.ids;
  const at::Tensor input = token_tensor(ids);
  work.runner.model.decoder.hidden(input, {}, attend);
  record.prompt = analysis::prompt_sinks(work.text.description, record.layers, o.sinks, o.lengths);
  for (LayerSinks& layer : record.layers) {
    for (const auto& head : layer.heads) record.heads.push_back({head.layer, head.head, head.kv_head});
    layer.heads.clear();
    layer.curve.clear();
  }
  return record;
}

SinkRun gather_sinks(const TextRun& texts, const SinksOptions& o) {
  SinkRun run;
  run.study.lengths = o.lengths;
  const auto count = static_cast<double>(texts.measured());
  texts.each([&](const TextRun::Record& measured) {
    auto record = measured.body.get<SinkRecord>();
    if (run.study.prompts.empty()) {
      run.study.heads = std::move(record.heads);
      for (const auto& layer : record.maps) {
        auto& maps = run.maps.emplace_back();
        for (const auto& map : layer) maps.push_back({.map = map});
      }
      for (const LayerSinks& layer : record.layers)
        run.layers.push_back({.layer = layer.layer,
                              .kv_heads = layer.kv_heads,
                              .k_norm_first = 0,
                              .k_norm_rest = 0,
                              .v_norm_first = 0,
                              .v_norm_rest = 0});
    }
    for (size_t l = 0; l < record.layers.size(); ++l) add(run.layers[l], record.layers[l], count);
    run.tokens.push_back(record.prompt.tokens);
    record.prompt.text = measured.index;
    run.study.prompts.push_back(std::move(record.prompt));
  });
  run.origin = texts.origin();
  return run;
}

}  // namespace kvviz
