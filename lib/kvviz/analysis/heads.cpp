// SPDX-License-Identifier: MIT
#include "kvviz/analysis/heads.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/magnitude.hpp"
#include "kvviz/stats/spectrum.hpp"

namespace kvviz::analysis {
namespace {

/// One head's keys or values; `centered` carries trace and norm only.
struct HalfWork {
  HeadHalf stats;
  stats::Gram centered;
};

double share(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

HeadHalf element_stats(std::span<const float> x, const HeadsOptions& options, double tau) {
  constexpr std::array<double, 3> top{0.01, 0.05, 0.10};
  const stats::Moments m = stats::moments(x);
  HeadHalf half;
  half.mean = stats::mean(m);
  half.std = stats::std_population(m);
  half.rms = stats::rms(m);
  half.mean_abs = stats::mean_abs(m);
  half.abs_max = m.abs_max;
  half.hoyer = stats::hoyer(m);
  half.participation_ratio = stats::participation_ratio(m);
  half.excess_kurtosis = stats::excess_kurtosis(m);
  std::ranges::copy(stats::top_energy(x, top), half.top_energy.begin());
  half.small_share = m.sum_sq == 0 ? 1 : share(stats::count_below(x, options.small_eps * half.rms), m.count);
  half.zero_share = share(m.zeros, m.count);
  half.legacy_below = stats::count_below(x, tau);
  half.legacy = {share(half.legacy_below, m.count), half.mean_abs, stats::std_sample(m)};
  half.moments = m;
  return half;
}

HalfWork half_work(stats::MatrixView x, const HeadsOptions& options, double tau) {
  HalfWork work;
  work.stats = element_stats({x.data, static_cast<size_t>(x.rows * x.cols)}, options, tau);
  if (!options.spectrum) return work;
  work.centered = stats::gram(x, stats::column_means(x));
  const std::vector<double> energies = stats::energies(options.center ? work.centered : stats::gram(x, {}));
  work.stats.effective_rank = stats::effective_rank(energies);
  work.stats.stable_rank = stats::stable_rank(energies);
  work.stats.components = stats::components(energies);
  work.centered.values = {};
  return work;
}

void append_layer(const LayerData& data, int layer, const HeadsOptions& options, HeadsResult& result) {
  const int64_t count = data.key.heads;
  std::vector<HalfWork> keys(count), values(count);
  std::vector<double> cross(count, 0.0);
  // Keys, values and their products are tasks of their own, so that a layer with one KV head still uses three
  // threads.
  kernels::parallel_for((options.spectrum ? 3 : 2) * count, [&](int64_t task) {
    const int64_t h = task % count;
    const stats::MatrixView key = data.key.head(h), value = data.value.head(h);
    if (task < count) {
      keys[h] = half_work(key, options, result.thresholds.k);
    } else if (task < 2 * count) {
      values[h] = half_work(value, options, result.thresholds.v);
    } else {
      cross[h] = stats::cross_energy(key, stats::column_means(key), value, stats::column_means(value));
    }
  });
  for (int64_t h = 0; h < count; ++h) {
    HeadRow row{.layer = layer, .head = static_cast<int>(h), .key = keys[h].stats, .value = values[h].stats};
    if (options.spectrum) {
      const stats::Cka cka = stats::cka(keys[h].centered, values[h].centered, cross[h], data.key.tokens);
      row.cka = cka.value;
      row.cka_chance = cka.chance;
      row.cka_excess = cka.excess;
    }
    result.rows.push_back(row);
  }
}

/// The same head index in all layers that have it.
LegacyHeadConsistency consistency(int head, const std::vector<HeadRow>& rows) {
  LegacyHeadConsistency c{.head = head};
  std::vector<const HeadRow*> own;
  for (const HeadRow& row : rows) {
    if (row.head == head) own.push_back(&row);
  }
  const auto n = static_cast<double>(own.size());
  for (const HeadRow* row : own) {
    c.k_sparsity_mean += row->key.legacy.sparsity / n;
    c.v_sparsity_mean += row->value.legacy.sparsity / n;
  }
  if (own.size() < 2) return c;
  double k = 0, v = 0;
  for (const HeadRow* row : own) {
    k += std::pow(row->key.legacy.sparsity - c.k_sparsity_mean, 2);
    v += std::pow(row->value.legacy.sparsity - c.v_sparsity_mean, 2);
  }
  c.k_sparsity_std = std::sqrt(k / (n - 1));
  c.v_sparsity_std = std::sqrt(v / (n - 1));
  return c;
}

std::vector<LegacyHeadConsistency> consistencies(const std::vector<HeadRow>& rows) {
  int most = 0;
  for (const HeadRow& row : rows) most = std::max(most, row.head + 1);
  std::vector<LegacyHeadConsistency> all;
  for (int head = 0; head < most; ++head) all.push_back(consistency(head, rows));
  std::ranges::stable_sort(all, {}, [](const LegacyHeadConsistency& c) {
    return std::isnan(c.k_sparsity_std) ? std::numeric_limits<double>::infinity() : c.k_sparsity_std;
  });
  return all;
}

std::vector<int64_t> prunable_rows(const std::vector<HeadRow>& rows, double limit) {
  std::vector<int64_t> list;
  for (int64_t i = 0; i < std::ssize(rows); ++i) {
    if (rows[i].key.legacy.sparsity > limit || rows[i].value.legacy.sparsity > limit) list.push_back(i);
  }
  std::ranges::stable_sort(list, std::greater{}, [&](int64_t i) {
    return std::pair(rows[i].key.legacy.sparsity, rows[i].value.legacy.sparsity);
  });
  return list;
}

}  // namespace

void validate(const HeadsOptions& options) {
  require<UsageError>(options.small_eps > 0 && std::isfinite(options.small_eps), "--small-eps ",
                      options.small_eps, ": expected a number above 0");
  require<UsageError>(options.prunable >= 0 && options.prunable <= 1, "--legacy-prunable-heads ",
                      options.prunable, ": expected a share, 0 to 1");
  validate(options.legacy);
}

HeadsResult heads(const KvView& cache, const HeadsOptions& options) {
  validate(options);
  token_count(cache);
  HeadsResult result;
  result.thresholds = thresholds_of(cache, options);
  const stats::SerialBlas serial;
  for (size_t l = 0; l < cache.layers.size(); ++l) {
    append_layer(load(cache.layers[l]), static_cast<int>(l), options, result);
  }
  result.legacy_consistency = consistencies(result.rows);
  result.legacy_prunable = prunable_rows(result.rows, options.prunable);
  return result;
}

}  // namespace kvviz::analysis
