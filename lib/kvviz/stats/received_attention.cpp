// SPDX-License-Identifier: MIT
#include "kvviz/stats/received_attention.hpp"

#include <algorithm>
#include <cassert>

namespace kvviz::stats {

void ReceivedAttention::add(std::span<const float> row) {
  assert(row.size() == mass.size() + 1);
  mass.push_back(0);
  for (size_t j = 0; j < row.size(); ++j) mass[j] += static_cast<double>(row[j]);
  own.push_back(static_cast<double>(row.back()));
}

std::vector<int64_t> received_sinks(const ReceivedAttention& received, double threshold) {
  constexpr int64_t first_positions = 16;
  const auto keys = std::ssize(received.mass);
  std::vector<int64_t> sinks;
  for (int64_t j = 0; j < std::min<int64_t>(first_positions, keys); ++j)
    if (received.mass[static_cast<size_t>(j)] / static_cast<double>(keys - j) > threshold) sinks.push_back(j);
  return sinks;
}

std::vector<int64_t> received_heavy(const ReceivedAttention& received, double threshold,
                                    std::span<const int64_t> sinks, int64_t queries) {
  const auto keys = std::ssize(received.mass);
  std::vector<int64_t> heavy;
  for (int64_t j = 0; j + std::max<int64_t>(queries, 1) < keys; ++j) {
    const auto at = static_cast<size_t>(j);
    const double mean = (received.mass[at] - received.own[at]) / static_cast<double>(keys - 1 - j);
    if (mean > threshold && std::ranges::find(sinks, j) == sinks.end()) heavy.push_back(j);
  }
  return heavy;
}

}  // namespace kvviz::stats
