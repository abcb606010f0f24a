// SPDX-License-Identifier: MIT
#include "kvviz/stats/sink_keys.hpp"

#include <algorithm>

namespace kvviz::stats {
namespace {

constexpr int64_t least_later = 64;

}  // namespace

UniformMass::UniformMass(int64_t tokens, int64_t window) : before_(static_cast<size_t>(tokens) + 1) {
  for (int64_t i = 0; i < tokens; ++i) {
    const int64_t seen = window > 0 ? std::min(i + 1, window) : i + 1;
    before_[static_cast<size_t>(i) + 1] = before_[static_cast<size_t>(i)] + 1 / static_cast<double>(seen);
  }
}

std::vector<int64_t> sink_keys(std::span<const double> later_mass, int64_t window, const SinkKeyRule& rule) {
  const int64_t tokens = std::ssize(later_mass);
  const UniformMass uniform(tokens, window);
  const int64_t longest = window > 0 ? window - 1 : tokens;
  const int64_t least = std::max<int64_t>(std::min({least_later, tokens / 2, longest}), 1);
  std::vector<int64_t> keys;
  for (int64_t j = 0; j < tokens; ++j) {
    const int64_t end = window > 0 ? std::min(j + window, tokens) : tokens, later = end - j - 1;
    if (later < least) continue;
    const double mass = later_mass[static_cast<size_t>(j)];
    if (mass >= rule.mass * static_cast<double>(later) && mass > rule.ratio * uniform.of(j + 1, end))
      keys.push_back(j);
  }
  return keys;
}

}  // namespace kvviz::stats
