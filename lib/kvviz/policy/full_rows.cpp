// SPDX-License-Identifier: MIT
#include "kvviz/policy/full_rows.hpp"

#include <Eigen/Dense>
#include <algorithm>

namespace kvviz::policy {

std::span<const float> FullRows::next(const kernels::ScanStep& step, const kernels::SlotOwner& owner) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const kernels::ScanShape& shape = step.shape;
  const int64_t keys = step.position + 1, dim = shape.head_dim;
  const float* const key = step.input.k.at(owner.kv_head, step.row);
  keys_.insert(keys_.end(), key, key + dim);
  const int64_t first = shape.window > 0 ? std::max<int64_t>(keys - shape.window, 0) : 0;
  const Eigen::Map<const Matrix> seen(keys_.data() + first * dim, keys - first, dim);
  sum_.setZero(keys);
  for (int64_t head = 0; head < owner.query_heads; ++head) {
    const Eigen::Map<const Eigen::VectorXf> query(step.input.q.at(owner.first_query_head + head, step.row),
                                                  dim);
    row_ = (seen * query).array() * shape.scale;
    if (!shape.alibi_slopes.empty()) {
      const float slope = shape.alibi_slopes[static_cast<size_t>(owner.first_query_head + head)];
      row_ +=
          slope *
          Eigen::ArrayXi::LinSpaced(row_.size(), static_cast<int>(first - step.position), 0).cast<float>();
    }
    if (shape.softcap > 0) row_ = shape.softcap * (row_ / shape.softcap).tanh();
    row_ = (row_ - row_.maxCoeff()).exp();
    row_ /= row_.sum();
    auto total = sum_.tail(keys - first);
    if (aggregate_ == kernels::Aggregate::max)
      total = total.max(row_);
    else
      total += row_;
  }
  if (aggregate_ != kernels::Aggregate::max) sum_ /= static_cast<float>(owner.query_heads);
  return {sum_.data(), static_cast<size_t>(keys)};
}

}  // namespace kvviz::policy
