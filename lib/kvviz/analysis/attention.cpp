// SPDX-License-Identifier: MIT
#include "kvviz/analysis/attention.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/analysis/attention_parts.hpp"
#include "kvviz/core/error.hpp"

namespace kvviz::analysis {
namespace {

template <class T>
double mean_of(std::span<const T> values) {
  double sum = 0;
  for (const T value : values) sum += static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}

void check(const AttentionLayer& layer, size_t index) {
  const auto where = [&] { return cat("[attention] layer ", index, ": "); };
  require(layer.queries > 0 && layer.queries <= layer.keys, where(), "got ", layer.queries, " queries and ",
          layer.keys, " keys; expected 1 or more queries, no more than keys");
  require(!layer.heads.empty() && layer.kv_heads > 0 && std::ssize(layer.heads) % layer.kv_heads == 0,
          where(), layer.heads.size(), " query heads cannot be shared out over ", layer.kv_heads,
          " KV heads");
  const auto keys = static_cast<size_t>(layer.keys), queries = static_cast<size_t>(layer.queries);
  for (const kernels::HeadAttention& head : layer.heads) {
    require(head.key_mass.size() == keys && head.recent_mass.size() == keys, where(), "got masses of ",
            head.key_mass.size(), " and ", head.recent_mass.size(), " keys; expected ", keys);
    require(std::isfinite(std::accumulate(head.key_mass.begin(), head.key_mass.end(), 0.0)), where(),
            "the attention weights are NaN: a query or a key is not finite");
    for (const auto* rows :
         {&head.entropy, &head.distance, &head.first_mass, &head.sink_mass, &head.small_share}) {
      require(rows->size() == queries, where(), "got statistics of ", rows->size(), " queries; expected ",
              queries);
    }
  }
  require(layer.value_norms.empty() || std::ssize(layer.value_norms) == layer.kv_heads, where(),
          "got value norms of ", layer.value_norms.size(), " KV heads; expected ", layer.kv_heads);
  for (const std::vector<double>& norms : layer.value_norms) {
    require(norms.size() == keys, where(), "got value norms of ", norms.size(), " keys; expected ", keys);
  }
}

double entropy_normalized(const AttentionLayer& layer, const kernels::HeadAttention& head) {
  double sum = 0, count = 0;
  for (int64_t i = 0; i < layer.queries; ++i) {
    const int64_t visible = visible_keys(layer, i);
    if (visible < 2) continue;
    sum += static_cast<double>(head.entropy[i]) / std::log(static_cast<double>(visible));
    ++count;
  }
  return count > 0 ? std::min(sum / count, 1.0) : kNone;
}

double distance_relative(const AttentionLayer& layer, const kernels::HeadAttention& head) {
  double sum = 0, uniform = 0;
  for (int64_t i = 0; i < layer.queries; ++i) {
    sum += static_cast<double>(head.distance[i]);
    uniform += static_cast<double>(visible_keys(layer, i) - 1) / 2;
  }
  return uniform > 0 ? sum / uniform : kNone;
}

/// What the first key would get if every query gave all keys that it sees the same.
double uniform_sink_mass(const AttentionLayer& layer) {
  double sum = 0;
  for (int64_t i = 0; i < layer.queries; ++i) {
    const int64_t visible = visible_keys(layer, i);
    if (visible == layer.keys - layer.queries + i + 1) sum += 1 / static_cast<double>(visible);
  }
  return sum / static_cast<double>(std::max<int64_t>(layer.queries, 1));
}

/// Comparisons with NaN are false: a head without the number is not of that class.
HeadClass class_of(const AttentionHead& head, double uniform, const AttentionOptions& options) {
  // In a short text the first key gets as much from a head that looks at everything alike.
  const double far_above_uniform = std::min(2 * uniform, (1 + uniform) / 2);
  if (head.sink_mass > uniform && head.sink_mass >= std::max(options.sink_share, far_above_uniform))
    return HeadClass::sink;
  if (head.distance_relative <= options.local_distance) return HeadClass::local;
  if (head.entropy_normalized >= options.global_entropy) return HeadClass::global;
  return HeadClass::mixed;
}

AttentionHead head_of(const AttentionLayer& layer, int64_t index, std::span<const int64_t> exposed,
                      double uniform, const AttentionOptions& options) {
  const kernels::HeadAttention& measured = layer.heads[index];
  AttentionHead head;
  head.head = static_cast<int>(index);
  head.kv_head = static_cast<int>(index / (std::ssize(layer.heads) / layer.kv_heads));
  if (layer.queries == layer.keys && layer.queries >= options.sink_tokens) {
    head.alpha_1 = mean_of(std::span(measured.sink_mass).first(options.sink_tokens));
  }
  head.sink_mass = mean_of(std::span(measured.sink_mass));
  head.first_mass = mean_of(std::span(measured.first_mass));
  head.entropy = mean_of(std::span(measured.entropy));
  head.entropy_normalized = entropy_normalized(layer, measured);
  head.distance = mean_of(std::span(measured.distance));
  head.distance_relative = distance_relative(layer, measured);
  head.small_share = mean_of(std::span(measured.small_share));
  head.top_mass = measured.top_mass;
  head.head_class = class_of(head, uniform, options);
  fill_keys(layer, measured, exposed, head);
  return head;
}

using Heads = std::span<const AttentionHead>;

std::vector<double> numbers(Heads heads, double AttentionHead::*member) {
  std::vector<double> values(heads.size());
  std::ranges::transform(heads, values.begin(), [member](const AttentionHead& head) { return head.*member; });
  return values;
}

std::vector<double> keys(Heads heads, std::vector<double> AttentionHead::*member, GqaAggregate how) {
  std::vector<const std::vector<double>*> vectors;
  for (const AttentionHead& head : heads) vectors.push_back(&(head.*member));
  return aggregate(vectors, how);
}

AttentionKvHead kv_head_of(Heads group, const AttentionOptions& options) {
  const GqaAggregate how = options.gqa;
  AttentionKvHead kv;
  kv.layer = group.front().layer;
  kv.kv_head = group.front().kv_head;
  kv.alpha_1 = aggregate(numbers(group, &AttentionHead::alpha_1), how);
  kv.sink_mass = aggregate(numbers(group, &AttentionHead::sink_mass), how);
  kv.first_mass = aggregate(numbers(group, &AttentionHead::first_mass), how);
  kv.entropy = aggregate(numbers(group, &AttentionHead::entropy), how);
  kv.entropy_normalized = aggregate(numbers(group, &AttentionHead::entropy_normalized), how);
  kv.distance = aggregate(numbers(group, &AttentionHead::distance), how);
  if (!options.head_keys) return kv;
  kv.received = keys(group, &AttentionHead::received, how);
  kv.value_weighted = keys(group, &AttentionHead::value_weighted, how);
  return kv;
}

/// Share of heads with alpha_1 > eps, strictly; kNone as soon as one head has none.
double sink_rate(Heads heads, double eps) {
  double sinks = 0;
  for (const AttentionHead& head : heads) {
    if (std::isnan(head.alpha_1)) return kNone;
    sinks += head.alpha_1 > eps ? 1 : 0;
  }
  return sinks / static_cast<double>(heads.size());
}

/// Mean over the heads of the mass per query of the last queries; their number is the sum of the masses.
std::vector<double> recent_of(const AttentionLayer& layer) {
  std::vector<double> mean(layer.keys, 0.0);
  for (const kernels::HeadAttention& head : layer.heads) {
    const double queries = std::round(std::accumulate(head.recent_mass.begin(), head.recent_mass.end(), 0.0));
    if (queries == 0) return {};
    for (int64_t key = 0; key < layer.keys; ++key) {
      mean[key] += head.recent_mass[key] / (queries * static_cast<double>(layer.heads.size()));
    }
  }
  return mean;
}

AttentionLayerRow layer_row(const AttentionLayer& layer, Heads heads, const AttentionOptions& options) {
  constexpr auto mean = GqaAggregate::mean;
  AttentionLayerRow row;
  row.layer = heads.front().layer;
  row.alpha_1 = aggregate(numbers(heads, &AttentionHead::alpha_1), mean);
  row.sink_rate = sink_rate(heads, options.sink_eps);
  row.sink_mass = aggregate(numbers(heads, &AttentionHead::sink_mass), mean);
  row.first_mass = aggregate(numbers(heads, &AttentionHead::first_mass), mean);
  row.entropy = aggregate(numbers(heads, &AttentionHead::entropy), mean);
  row.entropy_normalized = aggregate(numbers(heads, &AttentionHead::entropy_normalized), mean);
  row.distance = aggregate(numbers(heads, &AttentionHead::distance), mean);
  row.small_share = aggregate(numbers(heads, &AttentionHead::small_share), mean);
  for (const AttentionHead& head : heads) ++row.classes[static_cast<size_t>(head.head_class)];
  row.received = keys(heads, &AttentionHead::received, mean);
  row.value_weighted = keys(heads, &AttentionHead::value_weighted, mean);
  row.recent = recent_of(layer);
  return row;
}

/// Mean over the layers that measured it.
std::vector<double> layer_mean(const std::vector<AttentionLayerRow>& rows,
                               std::vector<double> AttentionLayerRow::*member) {
  std::vector<const std::vector<double>*> vectors;
  for (const AttentionLayerRow& row : rows) {
    if (!(row.*member).empty()) vectors.push_back(&(row.*member));
  }
  return mean_from_the_end(vectors);
}

std::string why_no_alpha(std::span<const AttentionLayer> layers, int64_t needed) {
  for (size_t l = 0; l < layers.size(); ++l) {
    if (layers[l].queries != layers[l].keys) {
      return cat("layer ", l, " has ", layers[l].keys, " keys for ", layers[l].queries,
                 " queries: the first queries of the text are missing");
    }
    if (layers[l].queries < needed) {
      return cat("alpha_1 needs ", needed, " tokens; the text has ", layers[l].queries);
    }
  }
  return {};
}

}  // namespace

void validate(const AttentionOptions& options) {
  const auto share = [](double value, const char* name) {
    require<UsageError>(value >= 0 && value <= 1, "--", name, ' ', value, ": expected a share, 0 to 1");
  };
  share(options.sink_eps, "sink-eps");
  share(options.sink_share, "class-sink");
  share(options.global_entropy, "class-global");
  require<UsageError>(options.local_distance >= 0 && std::isfinite(options.local_distance), "--class-local ",
                      options.local_distance, ": expected a number, 0 or above");
  require<UsageError>(options.sink_tokens >= 1, "--sink-tokens ", options.sink_tokens,
                      ": expected 1 or more");
  require<UsageError>(options.first_keys >= 1, "--first-keys ", options.first_keys, ": expected 1 or more");
  require<UsageError>(options.least_exposure >= 1, "--least-exposure ", options.least_exposure,
                      ": expected 1 or more");
  require<UsageError>(options.top_keys >= 0, "--top-keys ", options.top_keys, ": expected 0 or more");
}

AttentionResult attention(std::span<const AttentionLayer> layers, const AttentionOptions& options) {
  validate(options);
  require(!layers.empty(), "[attention] there is no layer");
  AttentionResult result;
  result.gqa = options.gqa;
  result.sink_eps = options.sink_eps;
  result.sink_tokens = options.sink_tokens;
  result.first_keys = options.first_keys;
  for (size_t l = 0; l < layers.size(); ++l) {
    const AttentionLayer& layer = layers[l];
    check(layer, l);
    const std::vector<int64_t> exposed = exposures(layer);
    const double uniform = uniform_sink_mass(layer);
    const size_t first = result.heads.size(), count = layer.heads.size(),
                 group = count / static_cast<size_t>(layer.kv_heads);
    for (size_t h = 0; h < count; ++h) {
      result.heads.push_back(head_of(layer, static_cast<int64_t>(h), exposed, uniform, options));
      result.heads.back().layer = static_cast<int>(l);
    }
    const Heads own = Heads(result.heads).subspan(first, count);
    for (size_t h = 0; h < count; h += group)
      result.kv_heads.push_back(kv_head_of(own.subspan(h, group), options));
    result.layers.push_back(layer_row(layer, own, options));
    for (size_t h = first; h < first + count && !options.head_keys; ++h) {
      result.heads[h].received = {};
      result.heads[h].value_weighted = {};
    }
  }
  result.sink_rate = sink_rate(result.heads, options.sink_eps);
  result.sink_reason = why_no_alpha(layers, options.sink_tokens);
  if (result.sink_reason.empty()) {
    result.alpha_1 = aggregate(numbers(result.heads, &AttentionHead::alpha_1), GqaAggregate::mean);
  }
  result.received = layer_mean(result.layers, &AttentionLayerRow::received);
  result.value_weighted = layer_mean(result.layers, &AttentionLayerRow::value_weighted);
  result.recent = layer_mean(result.layers, &AttentionLayerRow::recent);
  result.ranking = ranking(result, layers, options.least_exposure);
  result.top_keys = heaviest(result, options.top_keys);
  return result;
}

}  // namespace kvviz::analysis
