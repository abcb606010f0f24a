// SPDX-License-Identifier: MIT
#include "kvviz/engine/prune_metrics.hpp"

#include <cmath>

#include "kvviz/analysis/attention.hpp"
#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/heads.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/eval/changed_session.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/stats/mean.hpp"

namespace kvviz {
namespace {

using analysis::Half;
using analysis::SweepItem;
using analysis::SweepKind;

/// The prefix of one text, run with the cache as it is.
struct Prefix {
  Session session;
  std::vector<std::vector<kernels::HeadAttention>> attention;  ///< [layer][query head]
  std::vector<std::vector<double>> output_squares;             ///< [layer][query head] mean square
};

std::vector<double> mean_squares(const at::Tensor& output) {
  std::vector<double> means;
  for (int64_t head = 0; head < output.size(0); ++head)
    means.push_back(squared_norm(output[head]) / static_cast<double>(output[head].numel()));
  return means;
}

Prefix run_prefix(const Decoder& decoder, std::span<const int32_t> ids) {
  Prefix prefix{.session = Session(decoder)};
  const size_t layers = decoder.config().layers.size();
  prefix.attention.resize(layers);
  prefix.output_squares.resize(layers);
  Session::Watch watch;
  watch.attention = {.statistics = true};
  watch.on_attention = [&](int layer, std::vector<kernels::HeadAttention> heads) {
    prefix.attention[static_cast<size_t>(layer)] = std::move(heads);
  };
  watch.probe = [&](Site site, int layer, const at::Tensor& x) {
    if (site == Site::attention) prefix.output_squares[static_cast<size_t>(layer)] = mean_squares(x[0]);
  };
  prefix.session.extend(ids, watch);
  return prefix;
}

analysis::AttentionResult attention_of(const Prefix& prefix, const KvCache& cache) {
  std::vector<analysis::AttentionLayer> layers;
  for (size_t i = 0; i < cache.layers.size(); ++i) {
    const LayerKv& layer = cache.layers[i];
    layers.push_back({.heads = prefix.attention[i],
                      .kv_heads = layer.kv_heads(),
                      .queries = layer.tokens(),
                      .keys = layer.tokens(),
                      .window = layer.window});
  }
  return analysis::attention(layers, {});
}

/// Numbers of keys and values (HeadRow or LayerRow) and of attention (AttentionKvHead or AttentionLayerRow).
template <class Row, class Attention>
std::vector<double> numbers_of(const Row& row, const Attention& attention, double output_rms) {
  return {row.key.mean_abs,  row.value.mean_abs,      row.key.rms,
          row.value.rms,     row.key.effective_rank,  row.value.effective_rank,
          row.cka_excess,    row.key.legacy.sparsity, row.value.legacy.sparsity,
          attention.entropy, attention.sink_mass,     attention.distance,
          output_rms};
}

double rms_of(std::span<const double> squares) {
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::sqrt(sum / static_cast<double>(squares.size()));
}

std::vector<std::vector<double>> layer_numbers(const Prefix& prefix, const KvCache& cache,
                                               std::span<const SweepItem> items) {
  const auto layers = analysis::layers(cache.view(), {});
  const auto attention = attention_of(prefix, cache);
  std::vector<std::vector<double>> all;
  for (const SweepItem& item : items) {
    const auto l = static_cast<size_t>(item.layer);
    all.push_back(numbers_of(layers.rows[l], attention.layers[l], rms_of(prefix.output_squares[l])));
  }
  return all;
}

std::vector<std::vector<double>> head_numbers(const Prefix& prefix, const KvCache& cache,
                                              std::span<const SweepItem> items) {
  const auto heads = analysis::heads(cache.view(), {});
  const auto attention = attention_of(prefix, cache);
  std::vector<size_t> first_row;
  size_t rows = 0;
  for (const LayerKv& layer : cache.layers) {
    first_row.push_back(rows);
    rows += static_cast<size_t>(layer.kv_heads());
  }
  std::vector<std::vector<double>> all;
  for (const SweepItem& item : items) {
    const auto l = static_cast<size_t>(item.layer), head = static_cast<size_t>(item.head);
    const size_t row = first_row[l] + head;
    const std::span<const double> squares = prefix.output_squares[l];
    const size_t group = squares.size() / static_cast<size_t>(cache.layers[l].kv_heads());
    all.push_back(
        numbers_of(heads.rows[row], attention.kv_heads[row], rms_of(squares.subspan(head * group, group))));
  }
  return all;
}

/// Means over the block's channels in all heads of the layer; kNone where none has the number.
std::vector<double> block_numbers(const analysis::ChannelsResult& channels, const SweepItem& item) {
  stats::Mean square, mean_abs, abs_max, ratio, variation, sparsity;
  for (const analysis::HeadChannels& head : channels.rows) {
    if (head.layer != item.layer) continue;
    const analysis::ChannelHalf& half = item.half == Half::key ? head.key : head.value;
    for (int64_t c = item.first_channel; c <= item.last_channel; ++c) {
      const auto i = static_cast<size_t>(c);
      square.add(half.rms[i] * half.rms[i]);
      mean_abs.add(half.legacy[i].mean);
      abs_max.add(half.abs_max[i]);
      ratio.add(half.rms_ratio[i]);
      variation.add(half.variation[i]);
      sparsity.add(half.legacy[i].sparsity);
    }
  }
  return {mean_abs.get(), std::sqrt(square.get()), abs_max.get(),
          ratio.get(),    variation.get(),         sparsity.get()};
}

std::vector<std::vector<double>> numbers(const Prefix& prefix, int64_t tokens,
                                         std::span<const SweepItem> items, SweepKind kind) {
  KvCache cache = prefix.session.cache(tokens);
  if (kind == SweepKind::layers) return layer_numbers(prefix, cache, items);
  if (kind == SweepKind::heads) return head_numbers(prefix, cache, items);
  const auto channels = analysis::channels(cache.view(), {.patterns = 1});
  std::vector<std::vector<double>> all;
  for (const SweepItem& item : items) all.push_back(block_numbers(channels, item));
  return all;
}

}  // namespace

std::vector<std::string> metric_names(SweepKind kind) {
  if (kind == SweepKind::channels)
    return {"mean_abs", "rms", "abs_max", "rms_ratio", "variation", "legacy_sparsity"};
  return {"key_mean_abs", "value_mean_abs",      "key_rms",
          "value_rms",    "key_effective_rank",  "value_effective_rank",
          "cka_excess",   "legacy_key_sparsity", "legacy_value_sparsity",
          "entropy",      "sink_mass",           "distance",
          "output_rms"};
}

std::vector<std::vector<double>> sweep_metrics(const Decoder& decoder, std::span<const int32_t> prefix,
                                               std::span<const SweepItem> items, SweepKind kind) {
  return numbers(run_prefix(decoder, prefix), std::ssize(prefix), items, kind);
}

}  // namespace kvviz
