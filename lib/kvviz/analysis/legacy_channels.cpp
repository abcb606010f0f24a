// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/analysis/channel_parts.hpp"

namespace kvviz::analysis {
namespace {

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : kNone;
}

int64_t above(std::span<const LegacyStats> channels, double sparsity) {
  return std::ranges::count_if(channels, [&](const LegacyStats& c) { return c.sparsity > sparsity; });
}

}  // namespace

LegacyChannelSums::LegacyChannelSums(int64_t dims) : dims_(dims) {
  for (Side* side : {&key_, &value_}) {
    side->below.assign(dims, 0.0);
    side->elements.assign(dims, 0.0);
  }
}

void LegacyChannelSums::add(const LayerData& data, std::span<const HeadChannels> rows) {
  add_side(data.key, rows, &HeadChannels::key, key_);
  add_side(data.value, rows, &HeadChannels::value, value_);
}

void LegacyChannelSums::add_side(const HalfData& half, std::span<const HeadChannels> rows,
                                 ChannelHalf HeadChannels::*member, Side& side) const {
  const auto rows_per_head = static_cast<double>(half.tokens), heads = static_cast<double>(half.heads);
  std::vector<double> importance(half.dim, 1.0);
  for (const HeadChannels& row : rows) {
    for (int64_t d = 0; d < half.dim; ++d) {
      const double sparsity = (row.*member).legacy[d].sparsity;
      importance[d] -= sparsity / heads;
      side.below[d] += sparsity * rows_per_head;
      side.elements[d] += rows_per_head;
    }
  }
  side.importance.push_back(std::move(importance));
}

LegacyChannels LegacyChannelSums::finish(std::span<const HeadChannels> rows, double prunable) {
  LegacyChannels result;
  for (int64_t d = 0; d < dims_; ++d) {
    const double k = ratio(key_.below[d], key_.elements[d]), v = ratio(value_.below[d], value_.elements[d]);
    result.dimensions.push_back({d, k, v, (k + v) / 2});
  }
  result.k_importance = std::move(key_.importance);
  result.v_importance = std::move(value_.importance);
  for (const HeadChannels& row : rows) {
    result.prunable_keys += above(row.key.legacy, prunable);
    result.prunable_values += above(row.value.legacy, prunable);
  }
  return result;
}

}  // namespace kvviz::analysis
