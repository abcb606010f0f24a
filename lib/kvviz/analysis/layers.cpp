// SPDX-License-Identifier: MIT
#include "kvviz/analysis/layers.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/mean.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::analysis {
namespace {

using Rows = std::span<const HeadRow>;

LayerHalf half_of(Rows rows, HeadHalf HeadRow::*half) {
  stats::Moments m;
  int64_t below = 0;
  for (const HeadRow& row : rows) {
    const HeadHalf& head = row.*half;
    m = stats::merge(m, head.moments);
    below += head.legacy_below;
  }
  LayerHalf result;
  result.mean = stats::mean(m);
  result.std = stats::std_population(m);
  result.rms = stats::rms(m);
  result.mean_abs = stats::mean_abs(m);
  result.abs_max = m.abs_max;
  result.hoyer = stats::hoyer(m);
  result.participation_ratio = stats::participation_ratio(m);
  result.excess_kurtosis = stats::excess_kurtosis(m);
  result.zero_share = static_cast<double>(m.zeros) / static_cast<double>(m.count);
  result.effective_rank =
      stats::mean_over(rows, [&](const HeadRow& row) { return (row.*half).effective_rank; });
  result.stable_rank = stats::mean_over(rows, [&](const HeadRow& row) { return (row.*half).stable_rank; });
  result.legacy = {static_cast<double>(below) / static_cast<double>(m.count), result.mean_abs,
                   stats::std_sample(m)};
  return result;
}

/// What needs the elements again: the share below a multiple of the layer's own RMS, and the legacy
/// correlation.
void second_pass(const LayerData& data, double eps, LayerRow& row) {
  const int64_t count = data.key.heads;
  std::vector<int64_t> small_keys(count), small_values(count);
  std::vector<stats::CrossMoments> cross(count);
  const bool same_size = data.key.dim == data.value.dim;
  kernels::parallel_for(count, [&](int64_t h) {
    const auto key = data.key.head_elements(h), value = data.value.head_elements(h);
    small_keys[h] = stats::count_below(key, eps * row.key.rms);
    small_values[h] = stats::count_below(value, eps * row.value.rms);
    if (same_size) cross[h] = stats::cross_moments(key, value);
  });
  int64_t keys = 0, values = 0;
  stats::CrossMoments all;
  for (int64_t h = 0; h < count; ++h) {
    keys += small_keys[h];
    values += small_values[h];
    all = stats::merge(all, cross[h]);
  }
  const auto share = [](int64_t part, const HalfData& half, double rms) {
    return rms == 0 ? 1 : static_cast<double>(part) / static_cast<double>(half.elements().size());
  };
  row.key.small_share = share(keys, data.key, row.key.rms);
  row.value.small_share = share(values, data.value, row.value.rms);
  if (same_size) row.legacy_kv_correlation = stats::legacy_correlation(all);
}

LayerRow layer_row(const LayerKv& layer, int index, Rows rows) {
  LayerRow row{.layer = index,
               .kv_heads = layer.kv_heads(),
               .tokens = layer.tokens(),
               .head_dim = layer.head_dim(),
               .value_dim = layer.value.size(2),
               .window = layer.window,
               .bytes = layer.bytes(),
               .key = half_of(rows, &HeadRow::key),
               .value = half_of(rows, &HeadRow::value)};
  row.cka = stats::mean_over(rows, [](const HeadRow& r) { return r.cka; });
  row.cka_chance = stats::mean_over(rows, [](const HeadRow& r) { return r.cka_chance; });
  row.cka_excess = stats::mean_over(rows, [](const HeadRow& r) { return r.cka_excess; });
  return row;
}

std::vector<int> prunable_layers(const std::vector<LayerRow>& rows, double limit) {
  std::vector<int> list;
  for (const LayerRow& row : rows) {
    if (row.key.legacy.sparsity > limit || row.value.legacy.sparsity > limit) list.push_back(row.layer);
  }
  std::ranges::stable_sort(list, std::greater{}, [&](int layer) {
    return std::pair(rows[layer].key.legacy.sparsity, rows[layer].value.legacy.sparsity);
  });
  return list;
}

}  // namespace

void validate(const LayersOptions& options) {
  require<UsageError>(options.small_eps > 0 && std::isfinite(options.small_eps), "--small-eps ",
                      options.small_eps, ": expected a number above 0");
  require<UsageError>(options.prunable >= 0 && options.prunable <= 1, "--legacy-prunable-layers ",
                      options.prunable, ": expected a share, 0 to 1");
  validate(options.legacy);
}

LayersResult layers(const KvView& cache, const LayersOptions& options, const HeadsResult& head_rows) {
  validate(options);
  LayersResult result;
  result.thresholds = head_rows.thresholds;
  size_t first = 0;
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    const LayerKv& layer = cache.layers[l];
    const auto count = static_cast<size_t>(layer.kv_heads());
    require(first + count <= head_rows.rows.size() && head_rows.rows[first].layer == static_cast<int>(l),
            "[layers] the head statistics are of another cache: layer ", l, " has ", count,
            " KV heads there");
    result.rows.push_back(layer_row(layer, static_cast<int>(l), Rows(head_rows.rows).subspan(first, count)));
    second_pass(load(layer), options.small_eps, result.rows.back());
    result.bytes += layer.bytes();
    first += count;
  }
  result.legacy_prunable = prunable_layers(result.rows, options.prunable);
  return result;
}

LayersResult layers(const KvView& cache, const LayersOptions& options) {
  validate(options);
  const HeadsOptions head_options{
      .small_eps = options.small_eps, .legacy = options.legacy, .thresholds = options.thresholds};
  return layers(cache, options, heads(cache, head_options));
}

}  // namespace kvviz::analysis
