// SPDX-License-Identifier: MIT
#include "kvviz/analysis/synthetic_sinks.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

#include "kvviz/core/error.hpp"

namespace kvviz::analysis {
namespace {

/// Draws that are the same on every machine: the distributions of <random> are not.
class Random {
 public:
  explicit Random(uint64_t seed) : bits_(seed) {}

  double uniform() { return (static_cast<double>(bits_() >> 11) + 0.5) * 0x1p-53; }  // in (0, 1)

  /// Box & Muller, Ann. Math. Stat. 29, 1958.
  double normal() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

  /// Marsaglia & Tsang, ACM TOMS 26, 2000; shapes below 1 by the boost of their section 6.
  double gamma(double shape) {
    if (shape < 1) {
      const double larger = gamma(shape + 1);  // in one expression the order of the draws would be open
      return larger * std::pow(uniform(), 1 / shape);
    }
    const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
    for (;;) {
      const double x = normal(), v = std::pow(1 + c * x, 3);
      if (v > 0 && std::log(uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
    }
  }

  double beta(double a, double b) {
    const double x = gamma(a), y = gamma(b);
    return x / (x + y);
  }

 private:
  std::mt19937_64 bits_;
};

struct Beta {
  double a = 1, b = 1;
};

/// By moments. A spread that no Beta has gives the widest, none a narrow one.
Beta with_moments(double mean, double variance) {
  mean = std::clamp(mean, 1e-6, 1 - 1e-6);
  variance = std::clamp(variance, 1e-8, 0.9 * mean * (1 - mean));
  const double total = mean * (1 - mean) / variance - 1;
  return {mean * total, (1 - mean) * total};
}

struct Moments {
  double mean = 0, variance = 0;
};

Moments moments_of(const std::vector<double>& values) {
  Moments m;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) m.mean += value;
  m.mean /= std::max(count, 1.0);
  for (const double value : values) m.variance += (value - m.mean) * (value - m.mean) / count;
  return m;
}

/// What is drawn for one layer.
struct FittedLayer {
  Moments tendency;  // of the probability that a head is a sink
  Beta sink, other;

  double probability(Random& random) const {
    if (tendency.mean == 0 || tendency.mean == 1) return tendency.mean;
    const Beta beta = with_moments(tendency.mean, tendency.variance);
    return random.beta(beta.a, beta.b);
  }
};

FittedLayer fit(const SinkStudy& measured, const SinkSummary& summary, int layer) {
  const SinkRule& rule = summary.rule;
  const auto metric = static_cast<size_t>(rule.metric);
  std::vector<double> above, below, shares;
  double scores = 0;
  for (size_t h = 0; h < measured.heads.size(); ++h) {
    if (measured.heads[h].layer != layer) continue;
    for (const PromptSinks& prompt : measured.prompts) {
      const double score = prompt.score[metric][h];
      if (!std::isnan(score)) (rule.holds(score) ? above : below).push_back(std::clamp(score, 0.0, 1.0));
    }
    if (summary.heads[h].score[metric].count == 0) continue;
    shares.push_back(summary.heads[h].sink_share);
    scores += static_cast<double>(summary.heads[h].score[metric].count);
  }
  require(
      !shares.empty(), "--synthetic-fit: layer ", layer, " has no score of ", info_of(rule.metric).name,
      ", as in a result of --synthetic; fit one that was measured with a model, or give the --metric it has");
  FittedLayer fitted{.tendency = moments_of(shares)};
  // A share of n texts varies by p (1 - p) / n even where all heads are alike.
  const double texts = scores / static_cast<double>(shares.size()), mean = fitted.tendency.mean;
  if (texts > 1)
    fitted.tendency.variance =
        std::max(0.0, fitted.tendency.variance - mean * (1 - mean) / texts) / (1 - 1 / texts);
  const auto side = [](const std::vector<double>& values) {
    const Moments m = moments_of(values);
    return values.empty() ? Beta{} : with_moments(m.mean, m.variance);
  };
  fitted.sink = side(above);
  fitted.other = side(below);
  return fitted;
}

PromptSinks empty_prompt(const std::string& name, int64_t tokens, size_t heads) {
  PromptSinks prompt{.name = name, .tokens = tokens};
  for (auto& score : prompt.score) score.assign(heads, kNone);
  return prompt;
}

double& score_of(PromptSinks& prompt, SinkMetric metric, size_t head) {
  return prompt.score[static_cast<size_t>(metric)][head];
}

}  // namespace

void validate(const SyntheticOptions& o) {
  require<UsageError>(o.layers > 0 && o.heads > 0 && o.kv_heads > 0 && o.heads % o.kv_heads == 0,
                      "--num-layers, --num-heads, --num-kv-heads: got ", o.layers, ", ", o.heads, ", ",
                      o.kv_heads, "; expected numbers above 0, heads a multiple of KV heads");
  require<UsageError>(!o.lengths.empty() && std::ranges::min(o.lengths) > 1,
                      "--sequence-lengths: expected lengths of 2 tokens or more");
  require<UsageError>(std::min({o.tendency_a, o.tendency_b, o.sink_a, o.sink_b, o.other_a, o.other_b}) > 0,
                      "a and b of a Beta distribution are above 0");
  require<UsageError>(0 <= o.p_min && o.p_min <= o.p_max && o.p_max <= 1, "--p-min ", o.p_min, ", --p-max ",
                      o.p_max, ": expected 0 <= p-min <= p-max <= 1");
  require<UsageError>(o.noise >= 0 && o.floor >= 0 && o.slope >= 0,
                      "--noise, --length-floor and --length-slope are 0 or more");
}

SinkStudy synthetic_study(const SyntheticOptions& o) {
  validate(o);
  Random random(o.seed);
  SinkStudy study;
  for (int64_t i = 0; i < o.layers * o.heads; ++i) {
    const auto head = static_cast<int>(i % o.heads);
    study.heads.push_back(
        {static_cast<int>(i / o.heads), head, static_cast<int>(head / (o.heads / o.kv_heads))});
  }
  std::vector<double> tendency;
  for (int64_t h = 0; h < o.heads; ++h) tendency.push_back(random.beta(o.tendency_a, o.tendency_b));
  for (const int64_t n : o.lengths) {
    PromptSinks prompt = empty_prompt(cat("synthetic text of ", n, " tokens"), n, study.heads.size());
    const auto tokens = static_cast<double>(n);
    const double factor = std::max(o.floor, 1 - o.slope * tokens), uniform = uniform_alpha(n);
    for (size_t i = 0; i < study.heads.size(); ++i) {
      const HeadName& head = study.heads[i];
      const double depth = o.layers > 1 ? head.layer / static_cast<double>(o.layers - 1) : 0;
      const double base = o.base_first + (o.base_last - o.base_first) * depth;
      const double p =
          std::clamp(base * factor * tendency[static_cast<size_t>(head.head)] + o.noise * random.normal(),
                     o.p_min, o.p_max);
      const bool sink = random.uniform() < p;
      const double share = sink ? random.beta(o.sink_a, o.sink_b) : random.beta(o.other_a, o.other_b);
      score_of(prompt, SinkMetric::share0, i) = share;
      score_of(prompt, SinkMetric::share0_later, i) = (tokens * share - 1) / (tokens - 1);
      score_of(prompt, SinkMetric::excess, i) = (share - uniform) / (1 - uniform);
    }
    prompt.text = std::ssize(study.prompts);
    study.prompts.push_back(std::move(prompt));
  }
  return study;
}

SinkStudy fitted_study(const SinkStudy& measured, const SinkRule& rule, uint64_t seed) {
  const SinkSummary summary = summarise(measured, rule, {});
  const auto metric = static_cast<size_t>(rule.metric);
  require(info_of(rule.metric).is_share, "--synthetic-fit needs a metric between 0 and 1; ",
          info_of(rule.metric).name, " is not");
  Random random(seed);
  SinkStudy study{.heads = measured.heads};
  for (const PromptSinks& prompt : measured.prompts) {
    study.prompts.push_back(
        empty_prompt(cat("synthetic, as ", prompt.name), prompt.tokens, study.heads.size()));
  }
  for (const StudyLayer& layer : summary.layers) {
    const FittedLayer fitted = fit(measured, summary, layer.layer);
    for (size_t h = 0; h < study.heads.size(); ++h) {
      if (study.heads[h].layer != layer.layer) continue;
      const double p = fitted.probability(random);
      for (size_t i = 0; i < study.prompts.size(); ++i) {
        if (std::isnan(measured.prompts[i].score[metric][h])) continue;
        const bool is_sink = random.uniform() < p;
        const Beta& from = is_sink ? fitted.sink : fitted.other;
        // Only scores on the right side of the threshold: the sides were fitted apart.
        double score = random.beta(from.a, from.b);
        for (int tries = 0; rule.holds(score) != is_sink && tries < 1000; ++tries)
          score = random.beta(from.a, from.b);
        study.prompts[i].score[metric][h] = score;
      }
    }
  }
  return study;
}

}  // namespace kvviz::analysis
