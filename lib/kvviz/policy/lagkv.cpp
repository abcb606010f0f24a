// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kvviz/policy/keep_best.hpp"
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// Ranks the tokens of a partition against the range of the partition that follows it.
class LagRank : public Scorer {
 public:
  LagRank(const RuleContext& context, size_t owner)
      : dim_(context.shape.head_dim),
        sinks_(context.splits[owner].sinks),
        lag_(std::clamp<int64_t>((context.splits[owner].budget() - sinks_) / 2, 1,
                                 of_text(context, context.options.lag))),
        keys_(static_cast<size_t>(2 * lag_ * dim_)),
        values_(keys_.size()) {}

  void observe(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    const int64_t seen = step.position + 1 - sinks_;
    if (seen <= 0) return;
    const int64_t at = (seen - 1) % (2 * lag_) * dim_;
    std::copy_n(step.input.k.at(set.owner().kv_head, step.row), dim_, keys_.data() + at);
    std::copy_n(step.input.v.at(set.owner().kv_head, step.row), dim_, values_.data() + at);
    if (seen % lag_ != 0 || seen < 2 * lag_) return;

    const int64_t first = seen - 2 * lag_;  // of the partition that can be scored now, behind the sinks
    std::vector<double> score(static_cast<size_t>(lag_));
    add_spread(keys_, first, score);
    add_spread(values_, first, score);
    std::vector<int64_t> order(score.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return ordered(score[static_cast<size_t>(a)]) < ordered(score[static_cast<size_t>(b)]);
    });
    for (size_t rank = 0; rank < order.size(); ++rank) {
      const int64_t column = set.column_of(sinks_ + first + order[rank]);
      if (column >= 0)
        set.scores()[static_cast<size_t>(column)] = static_cast<double>(rank) / static_cast<double>(lag_);
    }
    scored_end_ = sinks_ + first + lag_;
  }

  int64_t scored_end(int64_t) const override { return scored_end_; }

 private:
  const float* row(const std::vector<float>& rows, int64_t token) const {
    return rows.data() + token % (2 * lag_) * dim_;
  }

  /// Adds half the softmax, over the tokens of the partition, of the standard deviation of their channels
  /// scaled by the next partition's minimum and maximum.
  void add_spread(const std::vector<float>& rows, int64_t first, std::vector<double>& score) const {
    const auto dim = static_cast<size_t>(dim_);
    std::vector<double> low(dim, std::numeric_limits<double>::infinity()), high(dim, -low[0]);
    for (int64_t token = first + lag_; token < first + 2 * lag_; ++token) {
      for (size_t c = 0; c < dim; ++c) {
        low[c] = std::min(low[c], static_cast<double>(row(rows, token)[c]));
        high[c] = std::max(high[c], static_cast<double>(row(rows, token)[c]));
      }
    }
    std::vector<double> spread;
    for (int64_t token = first; token < first + lag_; ++token) {
      double sum = 0, square = 0;
      for (size_t c = 0; c < dim; ++c) {
        const double range = high[c] > low[c] ? high[c] - low[c] : 1;
        const double x = (static_cast<double>(row(rows, token)[c]) - low[c]) / range;
        sum += x;
        square += x * x;
      }
      const double n = static_cast<double>(dim);
      spread.push_back(std::sqrt(std::max((square - sum * sum / n) / std::max(n - 1, 1.0), 0.0)));
    }
    const double top = *std::max_element(spread.begin(), spread.end());
    double total = 0;
    for (double& x : spread) total += x = std::exp(x - top);
    for (size_t i = 0; i < score.size(); ++i) score[i] += spread[i] / total / 2;
  }

  int64_t dim_, sinks_, lag_;
  int64_t scored_end_ = 0;
  std::vector<float> keys_, values_;  // the last two partitions, in turn
};

}  // namespace

PolicyInfo lagkv_policy() {
  return {.name = "lagkv",
          .summary = "the lowest rank in its partition leaves, ranked against the partition that follows",
          .citation = "Liang et al. 2025, arXiv 2504.04704",
          .sinks = 4,
          .scorer = [](const RuleContext& context, size_t owner) -> std::unique_ptr<Scorer> {
            return std::make_unique<LagRank>(context, owner);
          }};
}

}  // namespace kvviz::policy
