// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/analysis/similarity_parts.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"
#include "kvviz/stats/chance.hpp"

namespace kvviz::analysis {
namespace {

constexpr double kEqual = 1 - 1e-5;         // CKA excess that only equal matrices reach
constexpr int64_t kBlock = 16;              // tokens of a block that is fitted, or judged
constexpr int64_t kLeastFitted = 8;         // tokens
constexpr int64_t kTokensPerDirection = 4;  // fewer would make any two subspaces alike

double pairs_of(int64_t items) {
  return 0.5 * static_cast<double>(items) * static_cast<double>(items - 1);
}

/// One layer: its leading directions over all tokens, and as a predictor.
struct LayerWork {
  stats::Basis directions;  ///< in the space of tokens
  int64_t rank = 0;
  stats::CentredMatrix fit;
  std::vector<float> judge;
  stats::Basis components;  ///< of the fitted rows, in the space of channels
  int64_t predictors = 0;
};

struct Split {
  std::vector<int64_t> fit, judge;  ///< rows
};

Split split_of(int64_t rows) {
  const int64_t block = std::clamp<int64_t>(rows / 8, 1, kBlock);
  Split split;
  for (int64_t r = 0; r < rows; ++r) (r / block % 2 == 0 ? split.fit : split.judge).push_back(r);
  if (std::ssize(split.fit) < kLeastFitted || std::ssize(split.judge) < kLeastFitted) return {};
  return split;
}

std::vector<float> chosen_rows(const std::vector<float>& x, int64_t cols, std::span<const int64_t> rows) {
  std::vector<float> out;
  out.reserve(rows.size() * cols);
  for (const int64_t r : rows) out.insert(out.end(), x.begin() + r * cols, x.begin() + (r + 1) * cols);
  return out;
}

LayerWork layer_work(const SideSample& sample, int64_t layer, const Split& split,
                     const SimilarityOptions& options) {
  LayerWork work;
  int64_t cols = 0;
  const std::vector<float> rows = sample.layer(layer, cols);
  const int64_t most = std::min({options.max_rank, (sample.rows - 1) / kTokensPerDirection, cols});
  if (const stats::CentredMatrix x = stats::centred({rows.data(), sample.rows, cols});
      x.energy > 0 && most > 0) {
    work.directions = stats::leading_left(x.view(), most);
    work.rank = stats::directions_for(work.directions, x.energy, options.energy);
  }
  if (split.fit.empty()) return work;
  const std::vector<float> fitted = chosen_rows(rows, cols, split.fit);
  work.fit = stats::centred({fitted.data(), std::ssize(split.fit), cols});
  work.judge = chosen_rows(rows, cols, split.judge);
  if (work.fit.energy == 0) return work;
  const int64_t components = std::min({options.max_rank, std::ssize(split.fit) / kTokensPerDirection, cols});
  work.components = stats::leading_right(work.fit.view(), components);
  work.predictors = stats::directions_for(work.components, work.fit.energy, options.energy);
  return work;
}

LayerPrediction prediction(const std::vector<LayerWork>& work, int64_t from, const Split& split) {
  const LayerWork &x = work[from], &y = work[from + 1];
  LayerPrediction p{.from = static_cast<int>(from),
                    .to = static_cast<int>(from) + 1,
                    .fitted = std::ssize(split.fit),
                    .judged = std::ssize(split.judge)};
  if (x.predictors == 0) return p;
  const auto judged = [&](const LayerWork& w) {
    return stats::MatrixView{w.judge.data(), p.judged, w.fit.cols};
  };
  p.prediction = stats::predict({&x.fit, judged(x)}, x.components, x.predictors, {&y.fit, judged(y)});
  return p;
}

void compare_layers(const SideSample& sample, const stats::KernelProducts& products,
                    const SimilarityOptions& options, SimilaritySide& side) {
  const int64_t n = sample.layers;
  const Split split = split_of(sample.rows);
  std::vector<LayerWork> work(n);
  kernels::parallel_for(n, [&](int64_t l) { work[l] = layer_work(sample, l, split, options); });
  if (!split.fit.empty() && n > 1) {
    side.predictions.resize(n - 1);
    kernels::parallel_for(n - 1, [&](int64_t l) { side.predictions[l] = prediction(work, l, split); });
  }
  for (int first = 0; first < n; ++first)
    for (int second = first + 1; second < n; ++second) side.pairs.push_back({first, second, {}, {}});
  kernels::parallel_for(std::ssize(side.pairs), [&](int64_t i) {
    LayerPair& pair = side.pairs[i];
    pair.alignment = stats::alignment(products, pair.first, pair.second);
    const LayerWork &a = work[pair.first], &b = work[pair.second];
    if (a.rank > 0 && b.rank > 0)
      pair.subspace = stats::overlap(a.directions, a.rank, b.directions, b.rank, sample.rows - 1);
  });
}

/// Symmetric, `own(i)` on the diagonal.
template <class Own, class Get>
std::vector<double> matrix_of(int64_t items, const std::vector<LayerPair>& pairs, Own own, Get get) {
  std::vector<double> all(items * items);
  for (int64_t i = 0; i < items; ++i) all[i * items + i] = own(i);
  for (const LayerPair& pair : pairs)
    all[pair.first * items + pair.second] = all[pair.second * items + pair.first] = get(pair);
  return all;
}

void group_layers(const stats::KernelProducts& products, std::span<const double> head_bytes,
                  const SideSample& sample, const SimilarityOptions& options, SimilaritySide& side) {
  const int64_t n = sample.layers;
  const auto own = [&](int64_t i) { return stats::alignment(products, i, i).cka.excess; };
  side.layer_excess =
      matrix_of(n, side.pairs, own, [](const LayerPair& p) { return p.alignment.cka.excess; });
  side.layer_overlap = matrix_of(
      n, side.pairs, [&](int64_t i) { return products.traces[i] > 0 && sample.rows > 4 ? 1 : kNone; },
      [](const LayerPair& p) { return p.subspace.mean_cos2; });
  const double level = stats::chance_deviations(2 * pairs_of(n));
  const std::vector<double> alike =
      matrix_of(n, side.pairs, own, [&](const LayerPair& p) { return above_chance(p.alignment, level); });
  std::vector<double> bytes(n);
  for (size_t h = 0; h < head_bytes.size(); ++h) bytes[sample.layer_of[h]] += head_bytes[h];
  side.layers = grouping(alike, bytes, options.layer_threshold);
}

void compare_heads(const stats::KernelProducts& products, std::span<const double> bytes,
                   const SimilarityOptions& options, SimilaritySide& side) {
  const int64_t n = products.items;
  const double level = stats::chance_deviations(2 * pairs_of(n));
  side.head_excess.resize(n * n);
  std::vector<double> alike(n * n);
  kernels::parallel_for(n, [&](int64_t i) {
    for (int64_t j = 0; j < n; ++j) {
      const stats::Alignment a = stats::alignment(products, i, j);
      side.head_excess[i * n + j] = a.cka.excess;
      alike[i * n + j] = above_chance(a, level);
    }
  });
  side.heads = grouping(alike, bytes, options.head_threshold);
}

}  // namespace

double above_chance(const stats::Alignment& alignment, double deviations) {
  const double excess = alignment.cka.excess;
  if (std::isnan(excess) || excess >= kEqual || alignment.deviations >= deviations) return excess;
  return std::min(excess, 0.0);
}

void compare_layers_and_heads(const SideSample& sample, std::span<const double> head_bytes,
                              const SimilarityOptions& options, SimilaritySide& side) {
  const stats::KernelProducts heads = stats::kernel_products(
      std::ssize(sample.heads), [&](int64_t h, std::vector<float>&) { return sample.head(h); });
  const stats::KernelProducts layers = stats::joined(heads, sample.layer_of, sample.layers);
  const stats::SerialBlas serial;
  compare_layers(sample, layers, options, side);
  group_layers(layers, head_bytes, sample, options, side);
  compare_heads(heads, head_bytes, options, side);
}

}  // namespace kvviz::analysis
