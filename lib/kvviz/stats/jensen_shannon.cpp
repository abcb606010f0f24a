// SPDX-License-Identifier: MIT
#include "kvviz/stats/jensen_shannon.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::stats {
namespace {

/// -p ln p
double surprise(double p) {
  return p > 0 ? -p * std::log(p) : 0;
}

}  // namespace

std::vector<double> jensen_shannon_similarity(std::span<const double> distributions, int64_t items) {
  require(items == 0 || std::ssize(distributions) % items == 0, "[jensen_shannon] got ", distributions.size(),
          " cells for ", items, " distributions");
  const int64_t cells = items == 0 ? 0 : std::ssize(distributions) / items;
  std::vector<double> p(distributions.begin(), distributions.end()), entropy(items, kNone);
  for (int64_t i = 0; i < items; ++i) {
    double* const row = p.data() + i * cells;
    double mass = 0;
    for (int64_t c = 0; c < cells; ++c) mass += row[c];
    if (!(mass > 0)) continue;
    entropy[i] = 0;
    for (int64_t c = 0; c < cells; ++c) entropy[i] += surprise(row[c] /= mass);
  }
  std::vector<double> alike(items * items, kNone);
  kernels::parallel_for(items, [&](int64_t i) {
    if (std::isnan(entropy[i])) return;
    const double* const a = p.data() + i * cells;
    alike[i * items + i] = 1;
    for (int64_t j = i + 1; j < items; ++j) {
      if (std::isnan(entropy[j])) continue;
      const double* const b = p.data() + j * cells;
      double mixed = 0;
      for (int64_t c = 0; c < cells; ++c) mixed += surprise((a[c] + b[c]) / 2);
      const double divergence = (mixed - (entropy[i] + entropy[j]) / 2) / std::numbers::ln2;
      alike[i * items + j] = alike[j * items + i] = 1 - std::sqrt(std::clamp(divergence, 0.0, 1.0));
    }
  });
  return alike;
}

}  // namespace kvviz::stats
