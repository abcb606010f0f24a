// SPDX-License-Identifier: MIT
#include "unit/figures/synthetic.hpp"

#include "kvviz/analysis/synthetic_sinks.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>

namespace kvviz::synthetic {
namespace {

using namespace analysis;

/// A fixed sequence of numbers in [0, 1).
class Noise {
 public:
  explicit Noise(uint64_t seed) : state_(seed * 2654435761u + 1) {}
  double operator()() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state_ >> 11) / 9007199254740992.0;
  }
  double around(double centre, double spread) { return centre + spread * ((*this)() - 0.5); }

 private:
  uint64_t state_;
};

double depth(int layer, const Shape& shape) {
  return shape.layers > 1 ? static_cast<double>(layer) / (shape.layers - 1) : 0.0;
}

template <class Halves>
void fill(Halves& half, Noise& noise, double scale, double rank) {
  half.rms = half.std = scale;
  half.mean_abs = half.legacy.mean = 0.78 * scale;
  half.legacy.std = scale;
  half.hoyer = noise.around(0.25, 0.1);
  half.small_share = noise.around(0.09, 0.03);
  half.legacy.sparsity = std::min(0.95, 0.06 / (scale + 0.05) + noise.around(0.02, 0.02));
  half.effective_rank = rank * noise.around(0.6, 0.3);
}

}  // namespace

LayersResult layers(const Shape& shape) {
  Noise noise(1);
  LayersResult result;
  const double rank = std::min<double>(static_cast<double>(shape.tokens), shape.head_dim);
  for (int l = 0; l < shape.layers; ++l) {
    LayerRow row;
    row.layer = l, row.kv_heads = shape.heads, row.tokens = shape.tokens;
    row.head_dim = row.value_dim = shape.head_dim;
    fill(row.key, noise, noise.around(1.6, 0.3), rank);
    fill(row.value, noise, 0.05 + 0.45 * depth(l, shape), rank);
    row.cka = noise.around(0.45, 0.2), row.cka_chance = noise.around(0.18, 0.02);
    row.legacy_kv_correlation = noise.around(0, 0.05);
    if (shape.tokens == 1)
      row.cka = row.cka_chance = row.key.effective_rank = row.value.effective_rank = kNone;
    result.rows.push_back(row);
  }
  return result;
}

HeadsResult heads(const Shape& shape) {
  Noise noise(2);
  HeadsResult result;
  const double rank = std::min<double>(static_cast<double>(shape.tokens), shape.head_dim);
  for (int l = 0; l < shape.layers; ++l)
    for (int h = 0; h < shape.heads; ++h) {
      HeadRow row;
      row.layer = l, row.head = h;
      fill(row.key, noise, noise.around(1.6, 0.8), rank);
      fill(row.value, noise, 0.05 + 0.45 * depth(l, shape), rank);
      if (shape.tokens == 1) row.key.effective_rank = row.value.effective_rank = kNone;
      result.rows.push_back(row);
    }
  for (int h = 0; h < shape.heads; ++h)
    result.legacy_consistency.push_back(
        {h, noise.around(0.15, 0.05), shape.layers > 1 ? noise.around(0.03, 0.02) : kNone,
         noise.around(0.25, 0.1), shape.layers > 1 ? noise.around(0.1, 0.05) : kNone});
  return result;
}

DistributionResult distribution(const Shape& shape) {
  DistributionResult result;
  for (int i = -60; i <= 14; ++i) result.log_edges.push_back(i / 10.0);
  result.thresholds = {.k = 0.196, .v = 0.0538, .k_max = 19.6, .v_max = 5.38};
  const auto side = [&](int layer, double scale) {
    LayerDistribution out;
    out.layer = layer;
    double below = std::erf(std::pow(10.0, result.log_edges[0]) / scale / std::sqrt(2.0));
    for (size_t i = 1; i < result.log_edges.size(); ++i) {
      const double now = std::erf(std::pow(10.0, result.log_edges[i]) / scale / std::sqrt(2.0));
      out.counts.push_back(static_cast<int64_t>(1e6 * (now - below)));
      below = now;
    }
    out.zeros = 120;
    out.elements = std::accumulate(out.counts.begin(), out.counts.end(), out.zeros);
    return out;
  };
  for (int l = 0; l < shape.layers; ++l) {
    result.key.push_back(side(l, 1.6 + 0.4 * std::sin(l)));
    result.value.push_back(side(l, 0.05 + 0.45 * depth(l, shape)));
  }
  for (LegacyHistogram* histogram : {&result.legacy_key, &result.legacy_value}) {
    const double top = histogram == &result.legacy_key ? 19.6 : 5.38;
    for (int i = 0; i <= 50; ++i) histogram->edges.push_back(top * i / 50);
    for (int i = 0; i < 50; ++i)
      histogram->counts.push_back(static_cast<int64_t>(3e6 * std::exp(-0.28 * i)) * (i % 17 != 16));
  }
  return result;
}

ChannelsResult channels(const Shape& shape) {
  Noise noise(3);
  ChannelsResult result;
  const auto dims = static_cast<size_t>(shape.head_dim);
  for (int l = 0; l < shape.layers; ++l)
    for (int h = 0; h < shape.heads; ++h) {
      HeadChannels row;
      row.layer = l, row.head = h;
      for (size_t c = 0; c < dims; ++c) {
        const bool strong = c % 64 > 55 && noise() < 0.4;
        row.key.rms_ratio.push_back(strong ? noise.around(5, 4) : noise.around(1, 0.6));
        row.value.rms_ratio.push_back(noise() < 0.002 ? noise.around(4, 2) : noise.around(1, 0.4));
        for (const Half half : {Half::key, Half::value}) {
          const double ratio = (half == Half::key ? row.key : row.value).rms_ratio.back();
          if (ratio > 3) result.outliers.push_back({l, h, half, static_cast<int64_t>(c), ratio, 12, -1});
        }
      }
      for (size_t f = 0; f < dims / 2; ++f)
        row.key_pair_ratio.push_back(0.4 + 2.5 * std::exp(-static_cast<double>(dims / 2 - f) / 6) +
                                     noise() * 0.3);
      result.rows.push_back(std::move(row));
    }
  std::sort(result.outliers.begin(), result.outliers.end(),
            [](const auto& a, const auto& b) { return a.ratio > b.ratio; });
  for (ChannelPatterns* patterns : {&result.key_patterns, &result.value_patterns})
    for (int i = 0; i < 5; ++i) {
      ChannelPattern most{i % shape.layers, i % shape.heads, 17 * i % shape.head_dim, 2.0 - 0.2 * i, {}};
      ChannelPattern least = most;
      for (int64_t t = 0; t < shape.tokens; ++t) {
        most.values.push_back(t == 0 ? 25 : noise() < 0.04 ? noise.around(6, 4) : noise());
        least.values.push_back(t == 0 ? 0.1 : noise.around(1, 0.3));
      }
      patterns->most.push_back(most), patterns->least.push_back(least);
    }
  LegacyChannels& legacy = result.legacy;
  for (size_t d = 0; d < dims; ++d)
    legacy.dimensions.push_back({static_cast<int64_t>(d), noise.around(0.14, 0.1),
                                 noise() < 0.02 ? 0.6 : noise.around(0.2, 0.05), 0});
  for (int l = 0; l < shape.layers; ++l) {
    std::vector<double> k(dims), v(dims);
    for (size_t d = 0; d < dims; ++d)
      k[d] = 1 - noise.around(0.15, 0.2), v[d] = 1 - 0.6 * (1 - depth(l, shape)) - 0.1 * noise();
    legacy.k_importance.push_back(k), legacy.v_importance.push_back(v);
  }
  return result;
}

TokensResult tokens(const Shape& shape) {
  Noise noise(4);
  TokensResult result;
  const auto count = static_cast<size_t>(shape.tokens);
  const auto received = [&](size_t t) {
    return t == 0 ? 0.55
           : t + 1 == count
               ? 0.08
               : 0.6 / static_cast<double>(count) * std::exp(3 * (noise() - 0.5)) + (t % 37 == 5 ? 0.02 : 0);
  };
  for (int l = 0; l < shape.layers; ++l) {
    LayerTokens layer;
    layer.layer = l;
    for (size_t t = 0; t < count; ++t) {
      layer.k_norm_relative.push_back(t == 0 ? 0.3 : noise.around(1, 0.3));
      layer.v_norm_relative.push_back(t == 0 && l > 1 ? 0.02 : noise.around(1, 0.5));
      layer.legacy_k_sparsity.push_back(t == 0 ? 0.8 : noise.around(0.15, 0.05));
      layer.legacy_v_sparsity.push_back(t == 0 && l > 1 ? 0.99
                                                        : noise.around(0.7 - 0.5 * depth(l, shape), 0.1));
    }
    result.layers.push_back(std::move(layer));
  }
  for (size_t t = 0; t < count; ++t) {
    TokenRow row;
    row.token = static_cast<int64_t>(t);
    row.k_norm_relative = t == 0 ? 0.3 : noise.around(1, 0.2),
    row.v_norm_relative = t == 0 ? 0.05 : noise.around(1, 0.3);
    row.received = received(t), row.value_weighted = row.received * (t == 0 ? 0.1 : noise.around(2, 0.5));
    row.legacy_importance = t == 0 ? 0.12 : noise.around(0.9, 0.1);
    result.rows.push_back(row);
    result.order.push_back(row.token);
  }
  std::stable_sort(result.order.begin(), result.order.end(), [&](int64_t a, int64_t b) {
    return result.rows[static_cast<size_t>(a)].received > result.rows[static_cast<size_t>(b)].received;
  });
  return result;
}

AttentionResult attention(const Shape& shape) {
  Noise noise(5);
  AttentionResult result;
  const auto count = static_cast<size_t>(shape.tokens);
  const TokensResult from = tokens(shape);
  for (int l = 0; l < shape.layers; ++l) {
    AttentionLayerRow row;
    row.layer = l;
    for (int h = 0; h < shape.heads; ++h) {
      AttentionHead head;
      head.layer = l, head.head = h;
      const double sink = l < 2 ? 0.05 * noise() : noise() < 0.6 ? noise.around(0.7, 0.5) : 0.3 * noise();
      head.alpha_1 = shape.tokens >= 64 ? sink : kNone;
      head.sink_mass = 0.8 * sink;
      head.entropy = noise.around(2, 2), head.entropy_normalized = noise();
      head.distance = static_cast<double>(shape.tokens) * noise() / 2, head.distance_relative = noise();
      for (int b = 0; b < 16; ++b)
        head.top_mass.push_back(1 - (1 - sink) * std::exp(-0.4 * b * (0.5 + noise())));
      head.head_class = sink > 0.3 ? HeadClass::sink : noise() < 0.5 ? HeadClass::local : HeadClass::mixed;
      ++row.classes[static_cast<size_t>(head.head_class)];
      result.heads.push_back(std::move(head));
    }
    for (size_t t = 0; t < count; ++t) row.received.push_back(from.rows[t].received * noise.around(1, 1));
    result.layers.push_back(std::move(row));
  }
  for (size_t t = 0; t < count; ++t) result.received.push_back(from.rows[t].received);
  for (size_t i = 0; i < std::min<size_t>(20, count); ++i) {
    const int64_t key = from.order[i];
    result.top_keys.push_back({key, result.received[static_cast<size_t>(key)], kNone});
  }
  if (shape.tokens >= 64)
    result.sink_rate = 0.41;
  else
    result.sink_reason = "the text has fewer than 64 tokens";
  return result;
}

std::vector<figures::AttentionMap> maps(const Shape& shape, size_t count) {
  Noise noise(6);
  const int64_t bins = std::min<int64_t>(64, shape.tokens);
  std::vector<figures::AttentionMap> out;
  for (size_t i = 0; i < count; ++i) {
    figures::AttentionMap map{static_cast<int>(i) % shape.layers,
                              static_cast<int>(i) % shape.heads,
                              i % 3 == 0 ? "sink" : "local",
                              {},
                              shape.tokens,
                              shape.tokens};
    for (int64_t q = 0; q < bins; ++q)
      for (int64_t k = 0; k < bins; ++k)
        map.mean.push_back(k > q    ? 0.0
                           : k == 0 ? 0.5
                                    : 0.4 * std::exp(-0.3 * static_cast<double>(q - k)) * noise());
    out.push_back(std::move(map));
  }
  return out;
}

analysis::GenerationStudy generation(const Shape& shape) {
  using namespace analysis;
  const auto layers = static_cast<size_t>(shape.layers), heads = static_cast<size_t>(shape.heads);
  GenerationStudy study;
  study.cache.prompt = shape.tokens;
  for (const StagePoint& point : stage_points(29, {})) {
    GenerationStage stage{.name = point.name,
                          .tokens = shape.tokens + point.generated,
                          .generated = point.generated,
                          .bytes = 1 << 20,
                          .key = {{1.6, 0.3, 0.46, 0.32, 0.15}, {1.6, 0.3, 0.46, 0.32, 0.15}},
                          .value = {{0.4, 0.2, 0.42, 0.31, 0.25}, {0.4, 0.2, 0.42, 0.31, 0.25}}};
    if (point.generated > 0) {
      stage.key.generated = {1.7, 0.32, 0.47, 0.3, 0.12};
      stage.value.generated = {0.41, 0.21, 0.43, 0.31, 0.2};
      stage.key.drift = {0.4, 1.02};
      stage.value.drift = {0.3, 0.95};
      stage.chance = 0.2;
    }
    study.cache.stages.push_back(stage);
  }
  study.cache.end = study.cache.stages.back();
  study.cache.keys_before_rope = true;
  study.cache.shape.layers.assign(layers, {.kv_heads = shape.heads, .head_dim = shape.head_dim});
  for (size_t l = 0; l < layers; ++l)
    study.cache.layers.push_back({static_cast<int>(l), {0.4, 1.02}, {0.3, 0.95}});
  for (int i = 0; i < 29; ++i) {
    study.cache.tokens.push_back({1.0 + 0.1 * std::sin(i), 0.9, 1.1, 0.95});
    const AttentionShares shares{0.2, 0.7 - 0.02 * i, 0.05 + 0.02 * i, 0.05};
    study.steps.push_back({.id = i,
                           .text = " word",
                           .probability = 0.5 + 0.015 * i,
                           .bytes = (1 << 20) + 2048 * i,
                           .seconds = 0.001,
                           .attention = {layers, std::vector<AttentionShares>(heads, shares)},
                           .uniform = {0.01, 0.9, 0.08, 0.01}});
  }
  study.text =
      "The valley was still in shadow when the first carts came down from the mill,\nand nobody had yet "
      "thought of the bridge.";
  for (const int64_t equal : {29, 4, 0})
    study.evicted.push_back({.policy = "streaming_llm",
                             .budget = std::to_string(equal),
                             .text = "The valley",
                             .pieces = std::vector<std::string>(equal == 4 ? 9 : 29, " word"),
                             .equal = equal,
                             .divergence = Divergence{.step = equal, .full = " a", .evicted = " b"}});
  for (EvictedText& text : study.evicted)
    for (size_t step = 0; step <= text.pieces.size(); ++step) {
      const int64_t full = f16_bytes(study.cache.shape, shape.tokens + static_cast<int64_t>(step));
      text.held.push_back({100, full / (2 + text.equal), 5 * text.equal, full});
    }
  return study;
}

std::vector<std::string> texts(const Shape& shape) {
  static const std::array<std::string, 12> kWords{"<s>",  " The", " river", " was", "\n",      " 'quiet'",
                                                  " now", ",",    " über",  " the", " bridge", "\t"};
  std::vector<std::string> out;
  for (int64_t t = 0; t < shape.tokens; ++t) out.push_back(kWords[static_cast<size_t>(t) % kWords.size()]);
  return out;
}

std::vector<figures::NamedFigure> sinks(const Shape& shape) {
  using namespace analysis;
  SinkStudy study = synthetic_study({.layers = shape.layers, .heads = shape.heads, .kv_heads = 1});
  study.lengths = {4, 8};
  for (PromptSinks& prompt : study.prompts)
    prompt.alpha_at.assign(2, prompt.score[static_cast<size_t>(SinkMetric::share0)]);
  const SinkRule rule{SinkMetric::share0, 0.8};
  const SinkSummary summary = summarise(study, rule, {});
  const AcrossLayers across = across_layers(study, rule);
  std::vector<LayerSinks> layers(static_cast<size_t>(shape.layers));
  for (size_t l = 0; l < layers.size(); ++l)
    layers[l] = {.layer = static_cast<int>(l),
                 .sink_keys = {40, 3, 2, 1},
                 .mass = {0.5, 0.1, 0.1, 0.3},
                 .kind_tokens = {1, 20, 60, 400},
                 .k_norm_first = 8,
                 .k_norm_rest = 10,
                 .v_norm_first = 0.5,
                 .v_norm_rest = 3};
  auto all =
      figures::sink_figures({.study = &study, .summary = &summary, .across = &across, .layers = layers});
  const figures::SinkComparisonRun run{"Llama-3.2-1B", 10, 12, 0.9, 0.35, 0.02, 0.28, 0.2, 0.4, 0.3};
  all.push_back(
      figures::sink_comparison_figure(run, {"a model with a rather long name, 70 billion", 512, 512, 0.3}));
  const figures::ReuseVariantRow rows[] = {{"first_layer", 67, 4, 0.9, 0.3, 2.1, 2.0},
                                           {"first_key", 18, 1.5, 0.4, 0.6, 1.7, 2.0},
                                           {"zero", -0.5, 2, 0.4, 0.6, 1.6, 2.0}};
  all.push_back(figures::reuse_figure(rows));
  return all;
}

std::vector<figures::NamedFigure> catalogue(const Shape& shape) {
  using namespace figures;
  std::vector<NamedFigure> all;
  const auto add = [&](std::vector<NamedFigure> more) {
    std::move(more.begin(), more.end(), std::back_inserter(all));
  };
  const std::vector<std::string> words = texts(shape);
  add(layer_figures(layers(shape), {}));
  add(head_figures(heads(shape), {}));
  add(distribution_figures(distribution(shape)));
  add(channel_figures(channels(shape), {}));
  add(token_figures(tokens(shape), words));
  add(attention_figures(attention(shape), words));
  add(sinks(shape));
  add(all_heads_figures(maps(shape, 50)));
  add({attention_map_figure(maps(shape, 8))});
  add(generation_figures(generation(shape)));
  return all;
}

}  // namespace kvviz::synthetic
