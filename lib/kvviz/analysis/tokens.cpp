// SPDX-License-Identifier: MIT
#include "kvviz/analysis/tokens.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/mean.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::analysis {
namespace {

constexpr int64_t kSlice = 64;  // tokens per task

/// Per token of one layer's keys or values.
struct HalfTokens {
  std::vector<double> norm;                              // mean over heads of the L2 norm
  std::vector<double> sparsity, magnitude, legacy_norm;  // legacy: over heads and channels together
};

HalfTokens half_tokens(const HalfData& half, double tau) {
  const float limit = stats::least_float_from(tau);
  HalfTokens result;
  for (auto* values : {&result.norm, &result.sparsity, &result.magnitude, &result.legacy_norm}) {
    values->assign(half.tokens, 0.0);
  }
  const auto heads = static_cast<double>(half.heads), elements = static_cast<double>(half.heads * half.dim);
  kernels::parallel_for((half.tokens + kSlice - 1) / kSlice, [&](int64_t slice) {
    const int64_t first = slice * kSlice, last = std::min(first + kSlice, half.tokens);
    for (int64_t h = 0; h < half.heads; ++h) {
      for (int64_t t = first; t < last; ++t) {
        const stats::RowSums sums = stats::row_sums(half.row(h, t), limit);
        result.norm[t] += std::sqrt(sums.sum_sq) / heads;
        result.sparsity[t] += static_cast<double>(sums.below);
        result.magnitude[t] += sums.sum_abs;
        result.legacy_norm[t] += sums.sum_sq;
      }
    }
    for (int64_t t = first; t < last; ++t) {
      result.sparsity[t] /= elements;
      result.magnitude[t] /= elements;
      result.legacy_norm[t] = std::sqrt(result.legacy_norm[t]);
    }
  });
  return result;
}

std::vector<double> relative(const std::vector<double>& norms) {
  const double mean = std::accumulate(norms.begin(), norms.end(), 0.0) / static_cast<double>(norms.size());
  std::vector<double> result(norms.size(), kNone);
  for (size_t t = 0; mean > 0 && t < norms.size(); ++t) result[t] = norms[t] / mean;
  return result;
}

/// Over the layers that have the number.
struct TokenSums {
  stats::Mean k_relative, v_relative, received, value_weighted;
};

void add_layer(const LayerTokens& layer, const HalfTokens& key, const HalfTokens& value, TokensResult& result,
               std::vector<TokenSums>& sums) {
  for (size_t t = 0; t < layer.k_norm.size(); ++t) {
    TokenRow& row = result.rows[layer.first_token + static_cast<int64_t>(t)];
    TokenSums& sum = sums[row.token];
    ++row.layers;
    row.k_norm += key.norm[t];
    row.v_norm += value.norm[t];
    row.legacy_k_sparsity += key.sparsity[t];
    row.legacy_v_sparsity += value.sparsity[t];
    row.legacy_k_magnitude += key.magnitude[t];
    row.legacy_v_magnitude += value.magnitude[t];
    row.legacy_k_norm += key.legacy_norm[t];
    row.legacy_v_norm += value.legacy_norm[t];
    sum.k_relative.add(layer.k_norm_relative[t]);
    sum.v_relative.add(layer.v_norm_relative[t]);
    if (!layer.received.empty()) sum.received.add(layer.received[t]);
    if (!layer.value_weighted.empty()) sum.value_weighted.add(layer.value_weighted[t]);
  }
}

void finish_row(const TokenSums& sum, TokenRow& row) {
  const double n = row.layers;
  for (double* value :
       {&row.k_norm, &row.v_norm, &row.legacy_k_sparsity, &row.legacy_v_sparsity, &row.legacy_k_magnitude,
        &row.legacy_v_magnitude, &row.legacy_k_norm, &row.legacy_v_norm}) {
    *value /= n;
  }
  row.k_norm_relative = sum.k_relative.get();
  row.v_norm_relative = sum.v_relative.get();
  row.received = sum.received.get();
  row.value_weighted = sum.value_weighted.get();
  row.legacy_energy = row.legacy_k_norm * row.legacy_v_norm;
}

void score_legacy(std::vector<TokenRow>& rows) {
  double k = 0, v = 0, energy = 0;
  for (const TokenRow& row : rows) {
    k = std::max(k, row.legacy_k_norm);
    v = std::max(v, row.legacy_v_norm);
    energy = std::max(energy, row.legacy_energy);
  }
  const auto normalized = [](double value, double most) { return most > 0 ? value / most : 0; };
  for (TokenRow& row : rows) {
    row.legacy_k_norm_normalized = normalized(row.legacy_k_norm, k);
    row.legacy_v_norm_normalized = normalized(row.legacy_v_norm, v);
    row.legacy_energy_normalized = normalized(row.legacy_energy, energy);
    row.legacy_importance = 0.35 * row.legacy_k_norm_normalized + 0.35 * row.legacy_v_norm_normalized +
                            0.30 * row.legacy_energy_normalized;
  }
}

void check(const TokenAttention& attention, const KvView& cache) {
  for (const auto* table : {&attention.received, &attention.value_weighted}) {
    if (table->empty()) continue;
    require(table->size() == cache.layers.size(), "[tokens] the attention has ", table->size(),
            " layers, the cache ", cache.layers.size());
    for (size_t l = 0; l < table->size(); ++l) {
      require(std::ssize((*table)[l]) == cache.layers[l].tokens(), "[tokens] layer ", l,
              ": the attention has ", (*table)[l].size(), " keys, the cache ", cache.layers[l].tokens());
    }
  }
}

}  // namespace

void validate(const TokensOptions& options) {
  validate(options.legacy);
}

TokensResult tokens(const KvView& cache, const TokensOptions& options, const TokenAttention* attention) {
  validate(options);
  const int64_t count = token_count(cache);
  if (attention != nullptr) check(*attention, cache);
  TokensResult result;
  result.thresholds = thresholds_of(cache, options);
  result.rows.resize(count);
  for (int64_t t = 0; t < count; ++t) result.rows[t].token = t;
  std::vector<TokenSums> sums(count);
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    const LayerData data = load(cache.layers[l]);
    HalfTokens key = half_tokens(data.key, result.thresholds.k),
               value = half_tokens(data.value, result.thresholds.v);
    LayerTokens layer;
    layer.layer = static_cast<int>(l);
    layer.first_token = count - data.key.tokens;
    layer.k_norm = key.norm;
    layer.v_norm = value.norm;
    layer.k_norm_relative = relative(key.norm);
    layer.v_norm_relative = relative(value.norm);
    if (attention != nullptr && !attention->received.empty()) layer.received = attention->received[l];
    if (attention != nullptr && !attention->value_weighted.empty())
      layer.value_weighted = attention->value_weighted[l];
    layer.legacy_k_sparsity = key.sparsity;
    layer.legacy_v_sparsity = value.sparsity;
    add_layer(layer, key, value, result, sums);
    result.layers.push_back(std::move(layer));
  }
  for (TokenRow& row : result.rows) finish_row(sums[row.token], row);
  score_legacy(result.rows);
  if (attention != nullptr) result.order = attention->ranking;
  return result;
}

TokensResult tokens(const KvView& cache, const TokensOptions& options) {
  return tokens(cache, options, nullptr);
}

}  // namespace kvviz::analysis
