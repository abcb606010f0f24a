// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "unit/policy/text.hpp"

/// Eviction in plain double precision, from the definitions of the papers: dense, step by step, every score
/// computed anew from the whole history. Shares no code with the library.
namespace kvviz::reference {

using Rows = std::vector<std::vector<double>>;

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double rounding = 2e-6;  ///< of sums of f32 weights, relative to 1 + |sum|
double dot(const std::vector<double>& a, const std::vector<double>& b);
/// Over the positions `keys` of `logits`; 0 elsewhere.
std::vector<double> softmax(const std::vector<double>& logits, const std::vector<size_t>& keys);

/// All that one slot set has seen when it decides after step `now`.
struct View {
  size_t now = 0;
  std::vector<std::vector<size_t>> held;  ///< [step]: K, the keys attended to, ascending
  Rows weight;                    ///< [step][key]: softmax over K, of all the set's query heads; 0 else
  Rows full;                      ///< [step][key]: the same over all keys
  Rows key, value;                ///< [key][channel]
  std::vector<Rows> query;        ///< [query head of the set][step][channel], before RoPE
  std::vector<double> slope;      ///< [query head of the set] of ALiBi
  std::vector<size_t> decisions;  ///< steps at which keys had to leave, this one among them
};

/// Scores of the keys held now, in the order of held[now]: the lowest leaves. Each may be wrong by `slack`.
struct Scores {
  std::vector<double> value;
  std::vector<double> slack = {};  ///< empty: rounding of f32 weights
};
using ScoreKeys = std::function<Scores(const View&)>;

struct Protected {
  size_t budget = 0, sinks = 0, recent = 0;
};

/// Which keys leave each slot set of a layer, and the scores of the decision.
struct Verdict {
  std::vector<std::vector<size_t>> leave;  ///< [set]
  std::vector<Scores> scores;              ///< [set]
};
using Decide = std::function<Verdict(const std::vector<View>&, bool after_prompt)>;

/// Every set by itself: the lowest scores behind the sinks and before the recent keys.
Decide each_set(const ScoreKeys& score, const Protected& keep);
/// One decision for all sets, by the sum (or maximum) of their newest weights.
Decide all_alike(const Protected& keep, bool maximum);
/// The sets share their budgets: AdaKV with a floor.
Decide shared(const ScoreKeys& score, const Protected& keep, double floor);

ScoreKeys age();
ScoreKeys accumulated();
ScoreKeys last_use();
ScoreKeys observed(size_t queries, size_t kernel, bool maximum);
ScoreKeys small_norm();
ScoreKeys unlike_mean();
ScoreKeys lag_rank(size_t sinks, size_t lag);
ScoreKeys future_weight();
struct ExpectedOptions {
  size_t sinks = 4, future = 512, refresh = 64;
  double epsilon = 0, scale = 1;
};
ScoreKeys expected(const test::Text& text, const ExpectedOptions& options);

struct Replay {
  std::string difference;  ///< empty: every decision is the reference's, or one that rounding allows
  int64_t decisions = 0;   ///< keys that left
  int64_t near_ties = 0;   ///< those where the reference would have chosen another
};

/// Follows a run of the library step by step and compares its evictions with those of `decide`.
Replay replay(const test::Text& text, const test::Run& run, const Decide& decide,
              const test::RunOptions& options);

/// h2o:fullrow and h2o:global: keys that leave each set at each step, (step, position) in that order.
struct Left {
  size_t step, position;
};
std::vector<std::vector<Left>> heavy_by_full_rows(const test::Text& text, const Protected& keep,
                                                  const test::RunOptions& options);
std::vector<std::vector<Left>> heavy_by_all_rows(const test::Text& text, const Protected& keep,
                                                 const test::RunOptions& options);

/// Full attention: for each slot set [step][key], aggregated over its query heads.
std::vector<Rows> full_weights(const test::Text& text, const policy::PolicyOptions& options);
/// Their column sums.
std::vector<std::vector<double>> total_weights(const test::Text& text, const policy::PolicyOptions& options);

}  // namespace kvviz::reference
