// SPDX-License-Identifier: MIT
#include <functional>
#include <numeric>

#include "kvviz/analysis/generation_parts.hpp"

namespace kvviz::analysis {
namespace {

double length(std::span<const float> x) {
  return std::sqrt(
      std::inner_product(x.begin(), x.end(), x.begin(), 0.0, std::plus<>(),
                         [](float a, float b) { return static_cast<double>(a) * static_cast<double>(b); }));
}

template <class T>
double square_distance(std::span<const T> x, std::span<const double> centre) {
  double sum = 0;
  for (size_t d = 0; d < x.size(); ++d) {
    const double difference = static_cast<double>(x[d]) - centre[d];
    sum += difference * difference;
  }
  return sum;
}

std::vector<double> mean_of(const HalfData& x, int64_t head, TokenRange range) {
  std::vector<double> mean(static_cast<size_t>(x.dim), 0.0);
  for (int64_t t = range.first; t < range.end; ++t) {
    const auto row = x.row(head, t);
    for (size_t d = 0; d < row.size(); ++d) mean[d] += static_cast<double>(row[d]);
  }
  for (double& m : mean) m /= static_cast<double>(range.size());
  return mean;
}

/// The prompt's tokens of one head that others are compared with.
struct Origin {
  std::vector<double> centre;
  double spread = 0, norm = 0;

  Origin(const HalfData& x, int64_t head, TokenRange range) : centre(mean_of(x, head, range)) {
    for (int64_t t = range.first; t < range.end; ++t) {
      spread += square_distance(x.row(head, t), centre) / static_cast<double>(range.size());
      norm += length(x.row(head, t)) / static_cast<double>(range.size());
    }
    spread = std::sqrt(spread);
  }
};

}  // namespace

DriftSums::DriftSums(int64_t prompt, std::vector<int64_t> generated)
    : prompt_(prompt),
      generated_(std::move(generated)),
      stages_(generated_.size()),
      tokens_(static_cast<size_t>(generated_.back())) {}

Drift DriftSums::add(const HalfData& x) {
  DriftMeans layer;
  for (int64_t h = 0; h < x.heads && prompt_ >= 3; ++h) add_head(x, h, layer);
  return layer.get();
}

void DriftSums::add_head(const HalfData& x, int64_t head, DriftMeans& layer) {
  const Origin origin(x, head, {1, prompt_});
  if (!(origin.spread > 0)) return;
  std::vector<double> squares;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const auto row = x.row(head, prompt_ + static_cast<int64_t>(i));
    squares.push_back(square_distance(row, origin.centre));
    tokens_[i].distance.add(std::sqrt(squares.back()) / origin.spread);
    tokens_[i].norm.add(length(row) / origin.norm);
  }
  for (size_t i = 0; i < generated_.size(); ++i) {
    const int64_t count = generated_[i];
    if (count == 0) continue;
    const double square = std::accumulate(squares.begin(), squares.begin() + count, 0.0);
    const double distance = std::sqrt(square / static_cast<double>(count)) / origin.spread;
    const auto centre = mean_of(x, head, {prompt_, prompt_ + count});
    const double drift =
        std::sqrt(square_distance(std::span<const double>(centre), origin.centre)) / origin.spread;
    stages_[i].drift.add(drift);
    stages_[i].distance.add(distance);
    if (i + 1 < generated_.size()) continue;
    layer.drift.add(drift);
    layer.distance.add(distance);
  }
}

}  // namespace kvviz::analysis
