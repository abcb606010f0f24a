// SPDX-License-Identifier: MIT
#include "kvviz/analysis/generation.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "kvviz/analysis/generation_parts.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/magnitude.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::analysis {
namespace {

/// Some tokens of one head.
struct HeadPart {
  double squares = 0, hoyer = 0, gini = 0, participation_ratio = 0;
  int64_t below = 0;
};

HeadPart head_part(std::span<const float> x, double tau) {
  const stats::Moments m = stats::moments(x);
  return {.squares = m.sum_sq,
          .hoyer = stats::hoyer(m),
          .gini = stats::gini(x),
          .participation_ratio = stats::participation_ratio(m),
          .below = stats::count_below(x, tau)};
}

struct PartMeans {
  Mean square, hoyer, gini, participation_ratio, legacy;

  void add(const HalfData& x, TokenRange range, double tau) {
    if (range.size() == 0) return;
    std::vector<HeadPart> heads(static_cast<size_t>(x.heads));
    kernels::parallel_for(x.heads, [&](int64_t h) {
      heads[static_cast<size_t>(h)] =
          head_part(x.head_elements(h).subspan(static_cast<size_t>(range.first * x.dim),
                                               static_cast<size_t>(range.size() * x.dim)),
                    tau);
    });
    double squares = 0;
    int64_t below = 0;
    for (const HeadPart& head : heads) {
      squares += head.squares;
      below += head.below;
      hoyer.add(head.hoyer);
      gini.add(head.gini);
      participation_ratio.add(head.participation_ratio);
    }
    const auto elements = static_cast<double>(x.heads * range.size() * x.dim);
    square.add(squares / elements);
    legacy.add(static_cast<double>(below) / elements);
  }
  PartStats get() const {
    return {std::sqrt(square.get()), hoyer.get(), gini.get(), participation_ratio.get(), legacy.get()};
  }
};

std::vector<int64_t> counts_of(std::span<const StagePoint> points) {
  std::vector<int64_t> counts;
  for (const StagePoint& point : points) counts.push_back(point.generated);
  return counts;
}

/// K or V over the layers as they come. The first of the points is the prefill.
class HalfSums {
 public:
  HalfSums(std::span<const StagePoint> points, int64_t prompt, double tau)
      : points_(points),
        prompt_(prompt),
        tau_(tau),
        all_(points.size()),
        generated_(points.size()),
        drift_(prompt, counts_of(points)) {}

  /// `content`: what drift is measured on. Returns the layer's own drift.
  Drift add(const HalfData& cached, const HalfData& content) {
    for (size_t i = 0; i < points_.size(); ++i) {
      const int64_t end = prompt_ + points_[i].generated;
      all_[i].add(cached, {0, end}, tau_);
      generated_[i].add(cached, {prompt_, end}, tau_);
    }
    return drift_.add(content);
  }

  StageHalf stage(size_t i) const {
    return {all_[i].get(), all_.front().get(), generated_[i].get(), drift_.stage(i)};
  }
  const DriftSums& drift() const { return drift_; }

 private:
  std::span<const StagePoint> points_;
  int64_t prompt_;
  double tau_;
  std::vector<PartMeans> all_, generated_;
  DriftSums drift_;
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

CacheShape shape_of(const KvView& cache) {
  CacheShape shape;
  for (const LayerKv& layer : cache.layers)
    shape.layers.push_back({layer.kv_heads(), layer.head_dim(), layer.window});
  return shape;
}

std::string stage_name(size_t i, const StageOptions& options) {
  static constexpr std::array<const char*, 3> names{"early", "mid", "late"};
  if (options == StageOptions{}) return names[i];
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.begin(), text.end(), options.fractions[i]).ptr;
  return {text.begin(), end};
}

}  // namespace

void validate(const StageOptions& options) {
  require<UsageError>(!options.fractions.empty(), "--stages: got none; expected fractions such as 0.2,0.5,1");
  double before = 0;
  for (const double fraction : options.fractions) {
    require<UsageError>(fraction > 0 && fraction <= 1, "--stages: got ", fraction,
                        "; expected fractions of the generated tokens, above 0 and at most 1");
    require<UsageError>(fraction > before, "--stages: got ", fraction, " after ", before,
                        "; expected rising fractions, such as 0.2,0.5,1");
    before = fraction;
  }
}

std::vector<StagePoint> stage_points(int64_t generated, const StageOptions& options) {
  validate(options);
  std::vector<StagePoint> points{{"prefill", 0}};
  for (size_t i = 0; i < options.fractions.size(); ++i) {
    // The slack keeps 0.29 x 100 from becoming 28 tokens by rounding.
    const double exact = options.fractions[i] * static_cast<double>(generated) * (1 + 1e-12);
    const auto after = std::clamp<int64_t>(static_cast<int64_t>(exact), 1, std::max<int64_t>(1, generated));
    if (after <= generated && after > points.back().generated)
      points.push_back({stage_name(i, options), after});
  }
  return points;
}

GenerationResult generation(const GenerationCaches& caches, const StageOptions& stages,
                            const LegacyOptions& legacy) {
  const int64_t tokens = check(caches), generated = tokens - caches.prompt;
  GenerationResult result{.prompt = caches.prompt,
                          .shape = shape_of(caches.cache),
                          .keys_before_rope = !caches.keys_before_rope.empty(),
                          .thresholds = legacy_thresholds(caches.cache, legacy)};
  auto points = stage_points(generated, stages);
  const size_t asked = points.size();
  if (points.back().generated < generated) points.push_back({"end", generated});
  HalfSums keys(points, caches.prompt, result.thresholds.k);
  HalfSums values(points, caches.prompt, result.thresholds.v);
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
                          .bytes = f16_bytes(result.shape, caches.prompt + count),
                          .key = keys.stage(i),
                          .value = values.stage(i)};
    if (count > 0 && caches.prompt >= 3)
      stage.chance = std::sqrt(1 / static_cast<double>(count) + 1 / static_cast<double>(caches.prompt - 1));
    result.stages.push_back(std::move(stage));
  }
  result.end = result.stages.back();
  result.stages.resize(asked);
  for (size_t i = 0; i < static_cast<size_t>(generated); ++i)
    result.tokens.push_back(
        {keys.drift().distance(i), values.drift().distance(i), keys.drift().norm(i), values.drift().norm(i)});
  return result;
}

int64_t f16_bytes(const CacheShape& shape, int64_t tokens) {
  return cache_bytes(shape, parse_cache_type("f16"), tokens);
}

}  // namespace kvviz::analysis
