// SPDX-License-Identifier: MIT
#include <cmath>

#include "kvviz/kernels/few_rows_simd.hpp"
#include "kvviz/policy/held_rows.hpp"
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

/// -cos(k_j, mean of the held k / |k|): keys that point elsewhere than the others stay.
class Difference : public Scorer {
 public:
  explicit Difference(int64_t dim) : units_(dim), sum_(static_cast<size_t>(dim)) {}

  void observe(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    units_.release(step, set, [&](const float* unit) { add(unit, -1); });
    const float* const key = step.input.k.at(set.owner().kv_head, step.row);
    double square = 0;
    for (size_t c = 0; c < sum_.size(); ++c)
      square += static_cast<double>(key[c]) * static_cast<double>(key[c]);
    const double inverse = square > 0 ? 1 / std::sqrt(square) : 0;
    float* const unit = units_.add(step.position);
    for (size_t c = 0; c < sum_.size(); ++c)
      unit[c] = static_cast<float>(static_cast<double>(key[c]) * inverse);
    add(unit, 1);
  }

  void prepare(const kernels::ScanStep&, kernels::SlotSet& set) override {
    double square = 0;
    for (const double x : sum_) square += x * x;
    const double inverse = square > 0 ? 1 / std::sqrt(square) : 0;
    anchor_.clear();
    for (const double x : sum_) anchor_.push_back(static_cast<float>(-x * inverse));
    scores_.resize(static_cast<size_t>(units_.rows()));
    const auto dim = static_cast<int64_t>(sum_.size());
    kernels::few_rows_product({.x = anchor_.data(),
                               .rows = 1,
                               .in = dim,
                               .w = units_.data(),
                               .w_stride = dim,
                               .y = scores_.data(),
                               .out = units_.rows(),
                               .y_stride = units_.rows()});
    for (int64_t row = 0; row < units_.rows(); ++row) {
      if (units_.position(row) < 0) continue;
      set.scores()[static_cast<size_t>(set.column_of(units_.position(row)))] =
          static_cast<double>(scores_[static_cast<size_t>(row)]);
    }
  }

 private:
  void add(const float* unit, double sign) {
    for (size_t c = 0; c < sum_.size(); ++c) sum_[c] += sign * static_cast<double>(unit[c]);
  }

  HeldRows units_;
  std::vector<double> sum_;
  std::vector<float> anchor_, scores_;
};

/// The sum of the directions.
Metadata mean_kept(const RuleContext& context, size_t) {
  return {.key = position_bytes, .set = context.shape.head_dim * score_bytes};
}

}  // namespace

PolicyInfo keydiff_policy() {
  return {.name = "keydiff",
          .summary = "the key most like the mean direction of the held keys leaves",
          .citation = "Park et al. 2025, arXiv 2504.15364",
          .scorer = [](const RuleContext& context, size_t) -> std::unique_ptr<Scorer> {
            return std::make_unique<Difference>(context.shape.head_dim);
          },
          .metadata = &mean_kept};
}

}  // namespace kvviz::policy
