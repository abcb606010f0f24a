// SPDX-License-Identifier: MIT
#include "kvviz/engine/analyze.hpp"

namespace kvviz {
namespace {

using plot::colours::key;
using plot::colours::value;
constexpr plot::Colour both{0x009e73};

/// A measure of keys beside the same one of values.
std::vector<BatchLayout::Curve> halves(const std::string& table, const std::string& measure) {
  return {{{table, "k_" + measure}, "keys", key}, {{table, "v_" + measure}, "values", value}};
}

std::vector<BatchLayout::Curve> one(const std::string& table, const std::string& measure) {
  return {{{table, measure}, "", both}};
}

}  // namespace

BatchLayout analyze_layout() {
  BatchLayout layout;
  for (const char* share : {"top1_accuracy", "k_hoyer", "v_hoyer", "legacy_k_sparsity", "legacy_v_sparsity",
                            "sink_rate", "alpha_1", "sink_mass", "entropy_normalized"})
    layout.over.ranges.push_back({.fact = share});
  layout.over.tables = {
      {.name = "layers", .kept = {"kv_heads", "head_dim", "window"}, .left_out = {"tokens", "bytes"}},
      {.name = "heads"},
      {.name = "attention_layers"},
      {.name = "attention_heads", .kept = {"kv_head"}},
      {.name = "attention_kv_heads"},
      {.name = "generation"},
      {.name = "channel_outliers", .kept = {"rope_frequency"}, .most_texts_first = true},
      {.name = "legacy_dimensions"},
      {.name = "magnitude_quantiles"}};
  layout.facts = {{"perplexity", "Perplexity", "perplexity", 1},
                  {"top1_accuracy", "Tokens predicted right", "share", 0, 1},
                  {"sink_rate", "Sink rate", "share of query heads", 0, 1},
                  {"sink_mass", "Attention on the first token", "share", 0, 1},
                  {"entropy_normalized", "Attention entropy, normalised", "0 one key .. 1 uniform", 0, 1},
                  {"k_hoyer", "Hoyer sparsity of keys", "0 dense .. 1 sparse", 0, 1},
                  {"v_hoyer", "Hoyer sparsity of values", "0 dense .. 1 sparse", 0, 1},
                  {"k_effective_rank", "Effective rank of keys", "directions in use", 1},
                  {"v_effective_rank", "Effective rank of values", "directions in use", 1},
                  {"cka_excess", "CKA of keys and values above chance", "0 chance .. 1 same"},
                  {"channel_outliers", "Outlier channels", "channels", 0},
                  {"legacy_k_sparsity", "legacy: near-zero share of keys", "share of elements", 0, 1}};
  layout.layers = {
      {"Hoyer sparsity", "0 dense .. 1 sparse", halves("layers", "hoyer")},
      {"Effective rank (mean over KV heads)", "directions in use", halves("layers", "effective_rank")},
      {"Scale", "RMS", halves("layers", "rms")},
      {"Attention on the first token", "share", one("attention_layers", "sink_mass")},
      {"Attention entropy relative to uniform", "0 one key .. 1 uniform",
       one("attention_layers", "entropy_normalized")},
      {"Distance of attention", "tokens", one("attention_layers", "distance")}};
  layout.heads = {
      {{"attention_heads", "sink_mass"}, "head", "Attention on the first token", "query head", "share", 0, 1},
      {{"attention_heads", "entropy_normalized"},
       "head",
       "Attention entropy",
       "query head",
       "entropy / ln(visible keys)",
       0,
       1},
      {{"heads", "k_effective_rank"}, "head", "Effective rank of keys", "KV head", "directions"},
      {{"heads", "v_effective_rank"}, "head", "Effective rank of values", "KV head", "directions"}};
  return layout;
}

}  // namespace kvviz
