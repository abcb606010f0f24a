// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "kvviz/analysis/similarity_parts.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"
#include "kvviz/stats/chance.hpp"
#include "kvviz/stats/correlations.hpp"

namespace kvviz::analysis {
namespace {

HeadChannelsRow summary_of(std::span<const double> r, int64_t dim, int64_t rows) {
  HeadChannelsRow row;
  double sum = 0, count = 0;
  for (int64_t i = 0; i < dim; ++i)
    for (int64_t j = i + 1; j < dim; ++j) {
      const double size = std::fabs(r[i * dim + j]);
      if (std::isnan(size)) continue;
      sum += size;
      ++count;
      row.max_abs_r = std::isnan(row.max_abs_r) ? size : std::max(row.max_abs_r, size);
    }
  if (count == 0) return row;
  row.mean_abs_r = sum / count;
  row.chance = stats::mean_abs_correlation(rows);
  if (row.chance < 1) row.excess = (row.mean_abs_r - row.chance) / (1 - row.chance);
  return row;
}

std::vector<std::vector<int64_t>> groups_of(std::vector<double> r, int64_t dim, double threshold) {
  for (double& value : r) value = std::fabs(value);
  auto groups = stats::complete_linkage(r, dim, threshold);
  std::erase_if(groups, [](const auto& group) { return group.size() < 2; });
  return groups;
}

}  // namespace

void compare_channels(const SideSample& sample, std::span<const int64_t> tokens,
                      const SimilarityOptions& options, SimilaritySide& side) {
  const int64_t heads = std::ssize(sample.heads);
  double pairs = 0;
  for (const int64_t dim : sample.dims) pairs += static_cast<double>(dim) * static_cast<double>(dim - 1);
  side.channel_groups.threshold =
      std::max(options.channel_threshold, stats::chance_correlation(pairs, static_cast<double>(sample.rows)));
  side.channels.resize(heads);
  std::vector<std::vector<std::vector<int64_t>>> groups(heads);
  const stats::SerialBlas serial;
  kernels::parallel_for(heads, [&](int64_t h) {
    std::vector<double> r = stats::correlations(sample.head(h));
    side.channels[h] = summary_of(r, sample.dims[h], sample.rows);
    groups[h] = groups_of(std::move(r), sample.dims[h], side.channel_groups.threshold);
  });
  Grouping& all = side.channel_groups;
  for (int64_t h = 0; h < heads; ++h) {
    for (auto& group : groups[h]) {
      side.channels[h].grouped += std::ssize(group);
      all.f16_bytes += 2.0 * static_cast<double>(tokens[h] * (std::ssize(group) - 1));
      for (int64_t& channel : group) channel += all.items;
      all.groups.push_back(std::move(group));
    }
    side.channels[h].groups = std::ssize(groups[h]);
    side.channels[h].dim = sample.dims[h];
    all.items += sample.dims[h];
  }
}

std::vector<double> picked_correlations(std::span<const float> rows, int64_t dim) {
  const stats::SerialBlas serial;
  return stats::correlations({rows.data(), std::ssize(rows) / dim, dim});
}

}  // namespace kvviz::analysis
