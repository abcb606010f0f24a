// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// Weight from the queries of the recent keys, pooled over neighbours.
class ObservedWeight : public Scorer {
 public:
  ObservedWeight(const PolicyOptions& options, int64_t queries)
      : rows_(static_cast<size_t>(std::max<int64_t>(queries, 1))),
        kernel_(options.kernel),
        pool_(options.pool) {}
  kernels::EvictionRule::Needs needs() const override { return {.weights = true, .order = true}; }

  void observe(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    window_.resize(static_cast<size_t>(step.position) + 1);
    Row& row = rows_[static_cast<size_t>(step.position) % rows_.size()];
    for (size_t i = 0; i < row.keys.size(); ++i)
      window_[static_cast<size_t>(row.keys[i])] -= static_cast<double>(row.weights[i]);
    row.keys.assign(set.ordered().begin(), set.ordered().end());
    row.weights.resize(row.keys.size());
    const std::span<const float> weights = set.weights();
    for (size_t i = 0; i < row.keys.size(); ++i) {
      row.weights[i] = weights[static_cast<size_t>(set.column_of(row.keys[i]))];
      window_[static_cast<size_t>(row.keys[i])] += static_cast<double>(row.weights[i]);
    }
  }

  void prepare(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    // The queries' own keys are no neighbours: they are held in any case.
    const std::span<const int32_t> keys = set.ordered();
    const int64_t end = step.position + 1 - static_cast<int64_t>(rows_.size());
    const auto older = static_cast<size_t>(std::lower_bound(keys.begin(), keys.end(), end) - keys.begin());
    pool(keys.first(older));
    const std::span<double> scores = set.scores();
    for (size_t i = 0; i < keys.size(); ++i) {
      const double score = i < older ? pooled_[i] : window_[static_cast<size_t>(keys[i])];
      scores[static_cast<size_t>(set.column_of(keys[i]))] = score;
    }
  }

 private:
  struct Row {
    std::vector<int32_t> keys;
    std::vector<float> weights;
  };

  /// Mean (of `kernel_`, beyond the ends 0) or maximum over the neighbours in the cache.
  void pool(std::span<const int32_t> keys) {
    const size_t half = std::min(static_cast<size_t>(kernel_) / 2, keys.size());
    padded_.assign(keys.size() + 2 * half, 0);
    for (size_t i = 0; i < keys.size(); ++i) padded_[i + half] = window_[static_cast<size_t>(keys[i])];
    pooled_.assign(keys.size(), 0);
    for (size_t j = 0; j <= 2 * half; ++j) {
      for (size_t i = 0; i < keys.size(); ++i)
        pooled_[i] =
            pool_ == Pool::maximum ? std::max(pooled_[i], padded_[i + j]) : pooled_[i] + padded_[i + j];
    }
    if (pool_ == Pool::maximum) return;
    for (double& score : pooled_) score /= static_cast<double>(kernel_);
  }

  std::vector<Row> rows_;       // of the last queries
  std::vector<double> window_;  // their sum, by position
  std::vector<double> padded_, pooled_;
  int64_t kernel_;
  Pool pool_;
};

}  // namespace

std::unique_ptr<Scorer> snapkv_scorer(const RuleContext& context, size_t owner) {
  return std::make_unique<ObservedWeight>(context.options, of_text(context, context.splits[owner].recent));
}

/// The weights from each of the last queries, and their sum.
Metadata snapkv_metadata(const RuleContext& context, size_t owner) {
  const int64_t queries = std::max<int64_t>(context.splits[owner].recent, 1);
  return {.key = position_bytes + score_bytes + queries * weight_bytes};
}

PolicyInfo snapkv_policy() {
  return {.name = "snapkv",
          .summary = "the key leaves that the last queries give the least weight, pooled over neighbours",
          .citation = "Li et al. 2024, arXiv 2404.14469",
          .scorer = &snapkv_scorer,
          .metadata = &snapkv_metadata,
          .observation = true};
}

PolicyInfo pyramidkv_policy() {
  return {.name = "pyramidkv",
          .summary = "snapkv with budgets that fall from the first layer to the last",
          .citation = "Cai et al. 2024, arXiv 2406.02069",
          .scorer = &snapkv_scorer,
          .metadata = &snapkv_metadata,
          .pyramid = true,
          .observation = true};
}

}  // namespace kvviz::policy
