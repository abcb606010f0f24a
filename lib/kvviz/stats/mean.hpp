// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>
#include <cstdint>
#include <functional>

#include "kvviz/stats/moments.hpp"

namespace kvviz::stats {

/// The mean of the numbers that exist, in fp64: NaN is left out; kNone without any.
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

/// The Mean of get(row) over the rows; by itself, of the numbers themselves.
template <class Rows, class Get = std::identity>
double mean_over(const Rows& rows, const Get& get = {}) {
  Mean mean;
  for (const auto& row : rows) mean.add(get(row));
  return mean.get();
}

}  // namespace kvviz::stats
