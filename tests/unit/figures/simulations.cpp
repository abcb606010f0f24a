// SPDX-License-Identifier: MIT
#include "unit/figures/simulations.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace kvviz::synthetic {

using namespace analysis;

namespace {

struct Row {
  const char* name;
  double quality = 0;  ///< loss at half the budget, nats
  bool clairvoyant = false, masks = false, pyramid = false, per_head = false;
  double metadata = 0.002;  ///< of the full cache
};

constexpr std::array<Row, 18> rows{{{.name = "full"},
                                    {.name = "window", .quality = 0.9, .metadata = 0},
                                    {.name = "streaming_llm", .quality = 0.06, .metadata = 0},
                                    {.name = "h2o", .quality = 0.02},
                                    {.name = "h2o:mask", .quality = 0.021, .masks = true},
                                    {.name = "h2o:fullrow", .quality = 0.018, .masks = true},
                                    {.name = "h2o:global", .quality = 0.012, .clairvoyant = true},
                                    {.name = "lru", .quality = 0.05},
                                    {.name = "tova", .quality = 0.016},
                                    {.name = "snapkv", .quality = 0.009},
                                    {.name = "pyramidkv", .quality = 0.011, .pyramid = true},
                                    {.name = "adakv", .quality = 0.0085, .per_head = true},
                                    {.name = "knorm", .quality = 0.9},
                                    {.name = "keydiff", .quality = 0.12},
                                    {.name = "lagkv", .quality = 0.08},
                                    {.name = "expected_attention", .quality = 0.014},
                                    {.name = "random", .quality = 0.4},
                                    {.name = "oracle", .quality = -0.001, .clairvoyant = true}}};

/// Keys that a set of a policy holds, beside an even share.
double share(const Row& row, int layer, int head, int layers) {
  if (row.pyramid && layers > 1) return 1.6 - 1.2 * layer / (layers - 1);
  if (row.per_head) return 1 + 0.5 * std::sin(3 * layer + 2 * head);
  return 1;
}

void add_sets(PolicyOutcome& outcome, const Row& row, const SimulationShape& shape) {
  for (int layer = 0; layer < shape.layers; ++layer) {
    for (int head = 0; head < shape.heads; ++head) {
      const double bound = 1 - 0.3 * (1 - outcome.budget_fraction) * std::abs(std::sin(1 + layer + head));
      const double loss = std::min(0.9, 0.3 * std::sqrt(std::max(0.0, outcome.delta_nll)));
      outcome.heads.push_back(
          {layer, head, bound * (1 - loss), bound, 2 * loss * (1 + 0.2 * layer), 1 - loss});
    }
    for (int kv = 0; kv < shape.kv_heads; ++kv) {
      const double keys = outcome.budget_tokens * share(row, layer, kv, shape.layers);
      const int group = shape.heads / shape.kv_heads;
      outcome.sets.push_back({layer, kv, kv * group, keys, static_cast<double>(shape.tokens) - keys, keys + 1,
                              keys, kNone, 0.5});
    }
  }
}

PolicyOutcome outcome_of(const Row& row, double fraction, const SimulationShape& shape) {
  PolicyOutcome o;
  o.policy = row.name, o.summary = "the least useful key leaves", o.clairvoyant = row.clairvoyant;
  o.budget = fmt::format("{:g}", fraction);
  o.budget_fraction = fraction, o.budget_tokens = fraction * static_cast<double>(shape.tokens);
  o.texts = 8, o.predictions = 8 * shape.tokens;
  constexpr double full_nll = 3.2;
  o.delta_nll = std::string(row.name) == "full" ? 0 : row.quality * std::pow(0.5 / fraction, 1.4);
  o.delta_nll_se = 0.06 * std::abs(o.delta_nll) + 0.0004;
  o.nll = full_nll + o.delta_nll, o.ppl = std::exp(o.nll);
  o.delta_ppl = o.ppl - std::exp(full_nll), o.delta_ppl_se = o.ppl * o.delta_nll_se;
  o.kl = 1.2 * std::abs(o.delta_nll) + 0.0003, o.kl_max = 10 * o.kl;
  o.top1_agreement = 1 / (1 + o.kl);
  o.recall = std::exp(-0.7 * std::sqrt(o.kl)), o.bound = 0.98, o.output_error = 1 - o.recall;
  o.demand_hit_rate = 0.9 * o.recall;
  o.full_bytes = 2.0 * 4 * 64 * shape.layers * shape.kv_heads * static_cast<double>(shape.tokens);
  const double kept = row.masks ? 1 : std::string(row.name) == "full" ? 1 : fraction;
  o.evictions = fraction < 1 && std::string(row.name) != "full" ? 1 : 0;
  o.logical_bytes = kept * o.full_bytes;
  o.metadata_bytes = row.metadata * o.full_bytes * (1 + fraction);
  o.resident_bytes = o.logical_bytes + o.metadata_bytes;
  add_sets(o, row, shape);
  return o;
}

RetentionMap retention_of(const Row& row, const SimulationShape& shape) {
  RetentionMap map{row.name, "0.25", 0, 0, shape.tokens, {}, {0}, {}};
  const int64_t budget = std::max<int64_t>(shape.tokens / 4, 1);
  const bool keeps_sinks = std::string(row.name) != "window";
  for (int64_t t = 0; t < shape.tokens; ++t) {
    const bool heavy = t > 0 && (t * 7919) % 97 < 6;
    if (heavy) map.heavy.push_back(t);
    const bool stays = (t < 4 && keeps_sinks) || (heavy && row.quality < 0.05);
    map.last_step.push_back(
        std::min(shape.tokens - 1, stays ? shape.tokens : t + budget - 1 + (t * 31) % (budget / 4 + 1)));
  }
  return map;
}

TokenSurvival survival_of(const RetentionMap& map) {
  TokenSurvival survival{map.policy, map.budget, {}};
  for (size_t t = 0; t < map.last_step.size(); ++t)
    survival.held.push_back(
        map.last_step[t] + 1 >= map.tokens ? 1 : 0.3 * std::abs(std::sin(static_cast<double>(t))));
  return survival;
}

}  // namespace

SimulationStudy simulation(const SimulationShape& shape) {
  SimulationStudy study{.layers = shape.layers,
                        .query_heads = shape.heads,
                        .kv_heads = shape.kv_heads,
                        .texts = 8,
                        .tokens = 8 * shape.tokens,
                        .score_from = 16,
                        .positions = "original",
                        .prefill = "stepwise",
                        .full_ppl = std::exp(3.2),
                        .full_nll = 3.2};
  // One policy alone: not `full`, which is the reference.
  const auto first = static_cast<size_t>(shape.policies == 1 ? 3 : 0);
  for (size_t i = first; i < first + static_cast<size_t>(shape.policies); ++i) {
    for (const double budget : shape.budgets) study.outcomes.push_back(outcome_of(rows[i], budget, shape));
    study.retention.push_back(retention_of(rows[i], shape));
    study.survival.push_back(survival_of(study.retention.back()));
  }
  static constexpr std::array<const char*, 8> words{" the",   " of",    " cache", "\n",
                                                    " evict", " \"a\"", " in",    "."};
  for (int64_t t = 0; t < shape.tokens; ++t)
    study.first_text.emplace_back(words[static_cast<size_t>(t * t + t / 3) % words.size()]);
  mark_frontier(study.outcomes);
  return study;
}

std::vector<NeedleCell> needles(int policies, int depths, int lengths) {
  std::vector<NeedleCell> cells;
  for (int p = 0; p < policies; ++p)
    for (int d = 0; d < depths; ++d)
      for (int l = 0; l < lengths; ++l) {
        const double depth = depths > 1 ? static_cast<double>(d) / (depths - 1) : 0.5;
        const double held = std::clamp(1.2 - 0.1 * p - 0.2 * l + (depth > 0.8 ? 0.5 : 0), 0.0, 1.0);
        cells.push_back({rows[static_cast<size_t>(p)].name,
                         "0.25",
                         depth,
                         256LL << l,
                         -0.4 - 7 * (1 - held),
                         -0.4,
                         -7.2,
                         held,
                         {{0, 0, 0, held}, {1, 0, 0, held * held}, {2, 0, 0, 0.5 * held}}});
      }
  return cells;
}

}  // namespace kvviz::synthetic
