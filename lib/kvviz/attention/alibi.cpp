// SPDX-License-Identifier: MIT
#include "kvviz/attention/alibi.hpp"

#include <bit>
#include <cmath>

namespace kvviz {

std::vector<float> alibi_slopes(int64_t heads, double bias) {
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  const auto slope = [&](int64_t i, int64_t n) {
    return static_cast<float>(std::exp2(-bias * static_cast<double>(i) / static_cast<double>(n)));
  };
  std::vector<float> slopes;
  for (int64_t i = 0; i < power; ++i) slopes.push_back(slope(i + 1, power));
  for (int64_t i = 0; i < heads - power; ++i) slopes.push_back(slope(2 * i + 1, 2 * power));
  return slopes;
}

}  // namespace kvviz
