// SPDX-License-Identifier: MIT
#include "kvviz/analysis/generation.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "kvviz/analysis/layer_data.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::analysis {
namespace {

/// A mean over what exists.
class Mean {
 public:
  void add(double x) {
    if (std::isnan(x)) return;
    sum_ += x;
    ++count_;
  }
  double get() const { return count_ == 0 ? kNone : sum_ / static_cast<double>(count_); }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

struct Range {
  int64_t first = 0, end = 0;
  int64_t size() const { return end - first; }
};

struct PartMeans {
  Mean square, hoyer, legacy;

  void add(const HalfData& x, Range range, double tau) {
    if (range.size() == 0) return;
    int64_t below = 0;
    double squares = 0;
    for (int64_t h = 0; h < x.heads; ++h) {
      const auto part = x.head_elements(h).subspan(static_cast<size_t>(range.first * x.dim),
                                                   static_cast<size_t>(range.size() * x.dim));
      const stats::Moments m = stats::moments(part);
      hoyer.add(stats::hoyer(m));
      squares += m.sum_sq;
      below += stats::count_below(part, tau);
    }
    const auto elements = static_cast<double>(x.heads * range.size() * x.dim);
    square.add(squares / elements);
    legacy.add(static_cast<double>(below) / elements);
  }
  PartStats get() const { return {std::sqrt(square.get()), hoyer.get(), legacy.get()}; }
};

double norm(std::span<const float> x) {
  return std::sqrt(
      std::inner_product(x.begin(), x.end(), x.begin(), 0.0, std::plus<>(),
                         [](float a, float b) { return static_cast<double>(a) * static_cast<double>(b); }));
}

double square_distance(std::span<const float> x, std::span<const double> centre) {
  double sum = 0;
  for (size_t d = 0; d < x.size(); ++d) {
    const double difference = static_cast<double>(x[d]) - centre[d];
    sum += difference * difference;
  }
  return sum;
}

std::vector<double> mean_of(const HalfData& x, int64_t head, Range range) {
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

  Origin(const HalfData& x, int64_t head, Range range) : centre(mean_of(x, head, range)) {
    for (int64_t t = range.first; t < range.end; ++t) {
      spread += square_distance(x.row(head, t), centre) / static_cast<double>(range.size());
      norm += analysis::norm(x.row(head, t)) / static_cast<double>(range.size());
    }
    spread = std::sqrt(spread);
  }
};

struct DriftMeans {
  Mean drift, distance;
  Drift get() const { return {drift.get(), distance.get()}; }
};

struct TokenMeans {
  Mean distance, norm;
};

/// K or V over the layers as they come.
class HalfSums {
 public:
  HalfSums(std::span<const StagePoint> points, Range tokens, double tau)
      : points_(points),
        prompt_(tokens.first),
        tau_(tau),
        all_(points.size()),
        old_(points.size()),
        generated_(points.size()),
        drift_(points.size()),
        tokens_(static_cast<size_t>(tokens.size())) {}

  /// `content`: what drift is measured on. Returns the layer's own drift.
  Drift add(const HalfData& cached, const HalfData& content) {
    for (size_t i = 0; i < points_.size(); ++i) {
      const int64_t end = prompt_ + points_[i].generated;
      all_[i].add(cached, {0, end}, tau_);
      old_[i].add(cached, {0, prompt_}, tau_);
      generated_[i].add(cached, {prompt_, end}, tau_);
    }
    DriftMeans layer;
    for (int64_t h = 0; h < content.heads && prompt_ >= 3; ++h) add_head(content, h, layer);
    return layer.get();
  }

  StageHalf stage(size_t i) const {
    return {all_[i].get(), old_[i].get(), generated_[i].get(), drift_[i].get()};
  }
  const TokenMeans& token(size_t i) const { return tokens_[i]; }

 private:
  void add_head(const HalfData& x, int64_t head, DriftMeans& layer) {
    const Origin origin(x, head, {1, prompt_});
    if (!(origin.spread > 0)) return;
    std::vector<double> squares;
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const auto row = x.row(head, prompt_ + static_cast<int64_t>(i));
      squares.push_back(square_distance(row, origin.centre));
      tokens_[i].distance.add(std::sqrt(squares.back()) / origin.spread);
      tokens_[i].norm.add(norm(row) / origin.norm);
    }
    for (size_t i = 0; i < points_.size(); ++i) {
      const int64_t count = points_[i].generated;
      if (count == 0) continue;
      const double square = std::accumulate(squares.begin(), squares.begin() + count, 0.0);
      const double distance = std::sqrt(square / static_cast<double>(count)) / origin.spread;
      const auto centre = mean_of(x, head, {prompt_, prompt_ + count});
      double moved = 0;
      for (size_t d = 0; d < centre.size(); ++d)
        moved += (centre[d] - origin.centre[d]) * (centre[d] - origin.centre[d]);
      const double drift = std::sqrt(moved) / origin.spread;
      drift_[i].drift.add(drift);
      drift_[i].distance.add(distance);
      if (i + 1 < points_.size()) continue;
      layer.drift.add(drift);
      layer.distance.add(distance);
    }
  }

  std::span<const StagePoint> points_;
  int64_t prompt_;
  double tau_;
  std::vector<PartMeans> all_, old_, generated_;
  std::vector<DriftMeans> drift_;
  std::vector<TokenMeans> tokens_;
};

HalfData dense(const at::Tensor& x) {
  HalfData data{.owner = widened(x), .heads = x.size(0), .tokens = x.size(1), .dim = x.size(2)};
  data.data = data.owner.data_ptr<float>();
  return data;
}

int64_t check(const GenerationCaches& caches) {
  const int64_t tokens = token_count(caches.cache);
  require(caches.prompt >= 1 && caches.prompt <= tokens, "a prompt of ", caches.prompt,
          " tokens in a cache of ", tokens);
  for (size_t i = 0; i < caches.cache.layers.size(); ++i)
    require(caches.cache.layers[i].tokens() == tokens, "layer ", i, " holds ",
            caches.cache.layers[i].tokens(), " tokens of ", tokens, "; stages need all");
  require(caches.keys_before_rope.empty() || caches.keys_before_rope.size() == caches.cache.layers.size(),
          "got keys before RoPE of ", caches.keys_before_rope.size(), " layers of ",
          caches.cache.layers.size());
  return tokens;
}

int64_t bytes_at(const KvView& cache, int64_t tokens) {
  int64_t bytes = 0;
  for (const LayerKv& layer : cache.layers) bytes += layer.bytes() / layer.tokens() * tokens;
  return bytes;
}

}  // namespace

std::vector<StagePoint> stage_points(int64_t generated) {
  std::vector<StagePoint> points;
  const std::pair<const char*, int64_t> moments[] = {{"prefill", 0},
                                                     {"early", std::max<int64_t>(1, generated / 5)},
                                                     {"mid", generated / 2},
                                                     {"late", generated}};
  for (const auto& [name, after] : moments)
    if (after <= generated && (points.empty() || after > points.back().generated))
      points.push_back({name, after});
  return points;
}

GenerationResult generation(const GenerationCaches& caches, const LegacyOptions& legacy) {
  const int64_t tokens = check(caches);
  GenerationResult result{.prompt = caches.prompt, .thresholds = legacy_thresholds(caches.cache, legacy)};
  const auto points = stage_points(tokens - caches.prompt);
  HalfSums keys(points, {caches.prompt, tokens}, result.thresholds.k);
  HalfSums values(points, {caches.prompt, tokens}, result.thresholds.v);
  for (size_t i = 0; i < caches.cache.layers.size(); ++i) {
    const LayerData layer = load(caches.cache.layers[i]);
    const Drift key = caches.keys_before_rope.empty()
                          ? keys.add(layer.key, layer.key)
                          : keys.add(layer.key, dense(caches.keys_before_rope[i]));
    result.layers.push_back({static_cast<int>(i), key, values.add(layer.value, layer.value)});
  }
  for (size_t i = 0; i < points.size(); ++i) {
    const int64_t count = points[i].generated;
    GenerationStage stage{.name = points[i].name,
                          .tokens = caches.prompt + count,
                          .generated = count,
                          .bytes = bytes_at(caches.cache, caches.prompt + count),
                          .key = keys.stage(i),
                          .value = values.stage(i)};
    if (count > 0 && caches.prompt >= 3)
      stage.chance = std::sqrt(1 / static_cast<double>(count) + 1 / static_cast<double>(caches.prompt - 1));
    result.stages.push_back(std::move(stage));
  }
  for (size_t i = 0; i < static_cast<size_t>(tokens - caches.prompt); ++i)
    result.tokens.push_back({keys.token(i).distance.get(), values.token(i).distance.get(),
                             keys.token(i).norm.get(), values.token(i).norm.get()});
  return result;
}

AttentionShares& operator+=(AttentionShares& a, const AttentionShares& b) {
  a.first += b.first;
  a.prompt += b.prompt;
  a.generated += b.generated;
  a.self += b.self;
  return a;
}

AttentionShares operator*(double factor, AttentionShares s) {
  return {factor * s.first, factor * s.prompt, factor * s.generated, factor * s.self};
}

AttentionShares attention_shares(std::span<const double> weights, int64_t prompt) {
  assert(prompt >= 1 && std::ssize(weights) > prompt);
  const auto sum = [&](int64_t first, int64_t end) {
    return std::accumulate(weights.begin() + first, weights.begin() + end, 0.0);
  };
  return {.first = weights.front(),
          .prompt = sum(1, prompt),
          .generated = sum(prompt, std::ssize(weights) - 1),
          .self = weights.back()};
}

AttentionShares uniform_shares(int64_t keys, int64_t prompt, int64_t window) {
  const int64_t first = window > 0 ? std::max<int64_t>(0, keys - window) : 0;
  std::vector<double> weights(static_cast<size_t>(keys), 0.0);
  std::fill(weights.begin() + first, weights.end(), 1 / static_cast<double>(keys - first));
  return attention_shares(weights, prompt);
}

AttentionShares mean_shares(const GenerationStep& step) {
  AttentionShares mean;
  for (const auto& heads : step.attention)
    for (const AttentionShares& head : heads)
      mean += (1 / static_cast<double>(heads.size() * step.attention.size())) * head;
  return mean;
}

AttentionShares mean_shares(std::span<const GenerationStep> steps, size_t layer) {
  AttentionShares mean;
  for (const GenerationStep& step : steps)
    for (const AttentionShares& head : step.attention[layer])
      mean += (1 / static_cast<double>(step.attention[layer].size() * steps.size())) * head;
  return mean;
}

AttentionShares mean_shares(std::span<const GenerationStep> steps, size_t layer, size_t head) {
  AttentionShares mean;
  for (const GenerationStep& step : steps)
    mean += (1 / static_cast<double>(steps.size())) * step.attention[layer][head];
  return mean;
}

EvictedText full_text(const GenerationStudy& study) {
  const GenerationStage& late = study.cache.stages.back();
  EvictedText text{.policy = "full",
                   .budget = "1.0",
                   .text = study.text,
                   .pieces = {},
                   .equal = late.generated,
                   .divergence = {},
                   .stopped = study.stopped,
                   .entries = static_cast<double>(late.tokens),
                   .bytes = static_cast<double>(late.bytes),
                   .seconds = study.step_seconds()};
  for (const GenerationStep& step : study.steps) text.pieces.push_back(step.text);
  return text;
}

double GenerationStudy::step_seconds() const {
  std::vector<double> all;
  for (const GenerationStep& step : steps) all.push_back(step.seconds);
  return median(std::move(all));
}

double median(std::vector<double> values) {
  std::erase_if(values, [](double x) { return !std::isfinite(x); });
  if (values.empty()) return kNone;
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace kvviz::analysis
