// SPDX-License-Identifier: MIT
#include "kvviz/analysis/sinks.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "kvviz/core/error.hpp"
#include "kvviz/stats/sink_keys.hpp"

namespace kvviz::analysis {
namespace {

struct Layer {
  const AttentionLayer& measured;
  const SinkOptions& options;
  stats::UniformMass uniform;
  int64_t tokens = 0;

  Layer(const AttentionLayer& layer, const SinkOptions& o)
      : measured(layer), options(o), uniform(layer.keys, layer.window), tokens(layer.keys) {}

  /// Behind the last query that sees the key.
  int64_t seen_until(int64_t key) const {
    return measured.window > 0 ? std::min(key + measured.window, tokens) : tokens;
  }
};

void check(const AttentionLayer& layer, int index, std::span<const TokenKind> kinds,
           const SinkOptions& options) {
  const auto where = [&] { return cat("[sinks] layer ", index, ": "); };
  require(layer.queries == layer.keys && layer.keys > 0, where(), "got ", layer.queries, " queries and ",
          layer.keys, " keys; expected a whole text");
  require(std::ssize(kinds) == layer.keys, where(), "got kinds of ", kinds.size(), " tokens; expected ",
          layer.keys);
  require(layer.kv_heads > 0 && !layer.heads.empty() && std::ssize(layer.heads) % layer.kv_heads == 0,
          where(), layer.heads.size(), " query heads cannot be shared out over ", layer.kv_heads,
          " KV heads");
  const auto keys = static_cast<size_t>(layer.keys);
  for (const kernels::HeadAttention& head : layer.heads) {
    require(head.key_mass.size() == keys && head.sink_mass.size() == keys && head.self_mass.size() == keys &&
                (options.k == 1 || head.watched_mass.size() == keys),
            where(), "statistics of another number of tokens than ", keys);
    require(std::isfinite(std::accumulate(head.key_mass.begin(), head.key_mass.end(), 0.0)), where(),
            "the attention weights are NaN: a query or a key is not finite");
  }
}

double mean(std::span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::array<double, sink_metric_count> scores(const Layer& layer, const kernels::HeadAttention& head,
                                             std::span<const float> watched) {
  const auto n = static_cast<double>(layer.tokens);
  const std::span<const float> first(head.sink_mass);
  const auto at = [](SinkMetric metric) { return static_cast<size_t>(metric); };
  std::array<double, sink_metric_count> score;
  score.fill(kNone);
  const SinkOptions& o = layer.options;
  if (layer.tokens >= o.tokens)
    score[at(SinkMetric::alpha)] =
        mean(watched.subspan(static_cast<size_t>(o.k - 1), static_cast<size_t>(o.tokens - o.k + 1)));
  const double share = mean(first);
  score[at(SinkMetric::share0)] = share;
  score[at(SinkMetric::recent)] = mean(first.last(static_cast<size_t>(std::min(o.recent, layer.tokens))));
  if (layer.tokens < 2) return score;
  score[at(SinkMetric::share0_later)] = (n * share - 1) / (n - 1);
  const int64_t end = layer.seen_until(0);
  const double uniform = layer.uniform.of(0, end) / n;
  if (uniform < 1) score[at(SinkMetric::excess)] = (share - uniform) / (1 - uniform);
  if (end > 1) score[at(SinkMetric::ratio)] = (n * share - 1) / layer.uniform.of(1, end);
  return score;
}

std::vector<int64_t> sink_keys_of(const Layer& layer, const kernels::HeadAttention& head) {
  std::vector<double> later_mass(head.key_mass.begin(), head.key_mass.end());
  for (size_t j = 0; j < later_mass.size(); ++j) later_mass[j] -= static_cast<double>(head.self_mass[j]);
  return stats::sink_keys(later_mass, layer.measured.window,
                          {.ratio = layer.options.ratio, .mass = layer.options.mass});
}

HeadSinks head_sinks(const Layer& layer, int64_t index, std::span<const float> watched) {
  const kernels::HeadAttention& head = layer.measured.heads[index];
  HeadSinks sinks;
  sinks.head = static_cast<int>(index);
  sinks.kv_head = static_cast<int>(index / (std::ssize(layer.measured.heads) / layer.measured.kv_heads));
  sinks.score = scores(layer, head, watched);
  sinks.sink_keys = sink_keys_of(layer, head);
  for (const double mass : head.key_mass) {
    const double column = mass / static_cast<double>(layer.tokens);
    if (column > layer.options.column_sink)
      ++sinks.column_sinks;
    else if (column > layer.options.column_heavy)
      ++sinks.column_heavy;
  }
  return sinks;
}

void add_kinds(LayerSinks& layer, const kernels::HeadAttention& head, std::span<const TokenKind> kinds,
               double scale) {
  for (size_t j = 0; j < kinds.size(); ++j)
    layer.mass[static_cast<size_t>(kinds[j])] += head.key_mass[j] * scale;
}

double median_of_rest(std::vector<double> norms) {
  norms.erase(norms.begin());
  const auto middle = norms.begin() + std::ssize(norms) / 2;
  std::nth_element(norms.begin(), middle, norms.end());
  if (norms.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(norms.begin(), middle)) / 2;
}

void fill_norms(const std::vector<std::vector<double>>& heads, double& first, double& rest) {
  if (heads.empty() || heads.front().empty()) return;
  const double share = 1 / static_cast<double>(heads.size());
  first = 0;
  for (const auto& norms : heads) first += norms.front() * share;
  if (heads.front().size() < 2) return;
  rest = 0;
  for (const auto& norms : heads) rest += median_of_rest(norms) * share;
}

void fill_sink_norms(LayerSinks& layer, const LayerNorms& norms) {
  double key = 0, value = 0;
  for (size_t group = 0; group < norms.key.size(); ++group) {
    std::set<int64_t> sinks;
    for (const HeadSinks& head : layer.heads)
      if (head.kv_head == static_cast<int>(group)) sinks.insert(head.sink_keys.begin(), head.sink_keys.end());
    for (const int64_t j : sinks) key += norms.key[group][j], value += norms.value[group][j];
    layer.norm_keys += std::ssize(sinks);
  }
  if (layer.norm_keys == 0) return;
  layer.k_norm_sinks = key / static_cast<double>(layer.norm_keys);
  layer.v_norm_sinks = value / static_cast<double>(layer.norm_keys);
}

std::vector<std::vector<double>> norms_of(const at::Tensor& x) {
  const at::Tensor norms = x.to(at::kDouble).square().sum(-1).sqrt().contiguous();
  std::vector<std::vector<double>> rows;
  for (int64_t head = 0; head < norms.size(0); ++head) {
    const double* const row = norms.data_ptr<double>() + head * norms.size(1);
    rows.emplace_back(row, row + norms.size(1));
  }
  return rows;
}

}  // namespace

std::span<const SinkMetricInfo> sink_metrics() {
  static constexpr SinkMetricInfo metrics[sink_metric_count] = {
      {"alpha", "alpha_k", 0.3, false, true},
      {"share0", "share on the first token", 0.9, true, true},
      {"share0_later", "share on the first token without query 0", 0.3, false, true},
      {"excess", "share on the first token above uniform", 0.3, false, true},
      {"recent", "share on the first token, last queries", 0.3, false, true},
      {"ratio", "share on the first token over uniform", 10, false, false}};
  return metrics;
}

const SinkMetricInfo& info_of(SinkMetric metric) {
  return sink_metrics()[static_cast<size_t>(metric)];
}

SinkMetric parse_sink_metric(const std::string& name) {
  std::string names;
  for (size_t i = 0; i < sink_metric_count; ++i) {
    if (name == sink_metrics()[i].name) return static_cast<SinkMetric>(i);
    names += cat(i == 0 ? "" : ", ", sink_metrics()[i].name);
  }
  throw UsageError(cat("--metric ", name, ": expected one of ", names));
}

const char* name_of(TokenKind kind) {
  static constexpr const char* names[token_kind_count] = {"bos", "newline", "punctuation", "other"};
  return names[static_cast<size_t>(kind)];
}

void validate(const SinkOptions& o) {
  require<UsageError>(o.tokens >= 2, "--tokens-per-sequence ", o.tokens, ": expected 2 or more");
  require<UsageError>(o.k >= 1 && o.k <= o.tokens, "--sink-token ", o.k,
                      ": expected 1 to --tokens-per-sequence ", o.tokens);
  require<UsageError>(o.recent >= 1, "--recent ", o.recent, ": expected 1 or more");
  require<UsageError>(o.ratio > 0, "--key-ratio ", o.ratio, ": expected a number above 0");
  const std::pair<const char*, double> shares[] = {
      {"--key-mass", o.mass}, {"--column-sink", o.column_sink}, {"--column-heavy", o.column_heavy}};
  for (const auto& [name, share] : shares)
    require<UsageError>(share > 0 && share < 1, name, ' ', share, ": expected a number between 0 and 1");
}

kernels::AttentionRequest sink_request(const SinkOptions& options) {
  kernels::AttentionRequest request;
  request.statistics = true;
  request.recent_queries = options.recent;
  request.watched_key = options.k > 1 ? options.k - 1 : -1;
  request.sampled_queries = 0;
  return request;
}

LayerNorms norms_of(const LayerKv& layer) {
  return {norms_of(layer.key), norms_of(layer.value)};
}

LayerSinks sink_layer(int layer, const AttentionLayer& measured, const LayerNorms& norms,
                      std::span<const TokenKind> kinds, const SinkOptions& options) {
  check(measured, layer, kinds, options);
  const Layer facts(measured, options);
  LayerSinks sinks{.layer = layer, .kv_heads = measured.kv_heads, .tokens = measured.keys};
  for (const TokenKind kind : kinds) ++sinks.kind_tokens[static_cast<size_t>(kind)];
  const double scale = 1 / static_cast<double>(measured.keys * std::ssize(measured.heads));
  for (int64_t h = 0; h < std::ssize(measured.heads); ++h) {
    const kernels::HeadAttention& head = measured.heads[h];
    const auto& watched = options.k == 1 ? head.sink_mass : head.watched_mass;
    sinks.heads.push_back(head_sinks(facts, h, watched));
    sinks.heads.back().layer = layer;
    sinks.curve.push_back(watched);
    for (const int64_t key : sinks.heads.back().sink_keys)
      ++sinks.sink_keys[static_cast<size_t>(kinds[static_cast<size_t>(key)])];
    add_kinds(sinks, head, kinds, scale);
  }
  fill_norms(norms.key, sinks.k_norm_first, sinks.k_norm_rest);
  fill_norms(norms.value, sinks.v_norm_first, sinks.v_norm_rest);
  fill_sink_norms(sinks, norms);
  return sinks;
}

double uniform_alpha(int64_t tokens) {
  double harmonic = 0;
  for (int64_t i = tokens; i > 0; --i) harmonic += 1 / static_cast<double>(i);
  return harmonic / static_cast<double>(tokens);
}

}  // namespace kvviz::analysis
