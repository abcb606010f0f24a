// SPDX-License-Identifier: MIT
#include "kvviz/stats/magnitude.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "kvviz/core/error.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::stats {
namespace {

// The bits of |x| order like |x|. Eight bits of exponent and five of mantissa make groups 1.03 times wide.
constexpr int kShift = 18;
constexpr size_t kGroups = size_t{1} << (31 - kShift);

uint32_t bits(float x) {
  return std::bit_cast<uint32_t>(x) & 0x7fffffffU;
}

/// Several counts a group, summed at the end: neighbouring elements often fall into the same group, and one
/// counter would wait for itself.
std::vector<int64_t> group_counts(std::span<const float> x) {
  constexpr size_t ways = 2;
  std::vector<uint32_t> counts(ways * kGroups, 0);
  std::vector<int64_t> total(kGroups, 0);
  const size_t block = size_t{1} << 31;  // no 32-bit counter overflows
  for (size_t begin = 0; begin < x.size(); begin += block) {
    const size_t end = std::min(x.size(), begin + block);
    size_t i = begin;
    for (; i + ways <= end; i += ways) {
      for (size_t w = 0; w < ways; ++w) ++counts[w * kGroups + (bits(x[i + w]) >> kShift)];
    }
    for (; i < end; ++i) ++counts[bits(x[i]) >> kShift];
    for (size_t g = 0; g < kGroups; ++g) {
      for (size_t w = 0; w < ways; ++w) total[g] += std::exchange(counts[w * kGroups + g], 0U);
    }
  }
  return total;
}

/// The wanted positions of one group: where it starts in the order, and its members.
struct Wanted {
  int64_t start = 0;
  std::vector<float> members;
};

/// The largest `count` magnitudes and some more, in no order.
std::vector<float> magnitudes_from(std::span<const float> x, int64_t count) {
  const std::vector<int64_t> counts = group_counts(x);
  size_t group = kGroups;
  int64_t members = 0;
  while (members < count) members += counts[--group];
  std::vector<float> top(members + 1);  // one more: the loop below always writes
  const auto least = std::bit_cast<float>(static_cast<uint32_t>(group << kShift));
  size_t size = 0;
  for (const float value : x) {
    top[size] = std::fabs(value);
    size += top[size] >= least ? 1 : 0;
  }
  top.resize(size);
  return top;
}

/// Ascending, by their bits: three digits hold the 31 of a magnitude.
std::vector<uint32_t> sorted_bits(std::span<const float> x) {
  constexpr unsigned digit = 11, buckets = 1U << digit;
  std::vector<uint32_t> from, to(x.size());
  from.reserve(x.size());
  for (const float value : x) from.push_back(bits(value));
  for (unsigned shift = 0; shift < 31; shift += digit) {
    std::array<size_t, buckets + 1> next{};
    for (const uint32_t key : from) ++next[(key >> shift) % buckets + 1];
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (const uint32_t key : from) to[next[(key >> shift) % buckets]++] = key;
    from.swap(to);
  }
  return from;
}

}  // namespace

std::vector<double> magnitude_order(std::span<const float> x, std::span<const int64_t> positions) {
  for (const int64_t p : positions) {
    require(p >= 0 && p < std::ssize(x), "[magnitude_order] got position ", p, " of ", x.size(), " elements");
  }
  const std::vector<int64_t> counts = group_counts(x);
  std::vector<int64_t> starts(kGroups + 1, 0);
  for (size_t g = 0; g < kGroups; ++g) starts[g + 1] = starts[g] + counts[g];

  std::vector<size_t> group_of;  // of each position
  std::vector<int32_t> slot(kGroups, -1);
  std::vector<Wanted> wanted;
  for (const int64_t p : positions) {
    const auto group = static_cast<size_t>(std::ranges::upper_bound(starts, p) - starts.begin() - 1);
    group_of.push_back(group);
    if (slot[group] >= 0) continue;
    slot[group] = static_cast<int32_t>(wanted.size());
    wanted.push_back({starts[group], {}});
    wanted.back().members.reserve(counts[group]);
  }
  for (const float value : x) {
    const int32_t s = slot[bits(value) >> kShift];
    if (s >= 0) wanted[s].members.push_back(std::fabs(value));
  }
  for (Wanted& w : wanted) std::ranges::sort(w.members);
  std::vector<double> values;
  for (size_t i = 0; i < positions.size(); ++i) {
    const Wanted& w = wanted[slot[group_of[i]]];
    values.push_back(static_cast<double>(w.members[positions[i] - w.start]));
  }
  return values;
}

std::vector<double> top_energy(std::span<const float> x, std::span<const double> fractions) {
  const auto n = std::ssize(x);
  std::vector<int64_t> taken;
  for (const double fraction : fractions) {
    require(fraction > 0 && fraction <= 1, "[top_energy] got the fraction ", fraction,
            "; expected one in (0, 1]");
    // The slack keeps 0.1 x 10 from becoming 2 elements by rounding.
    const auto count = static_cast<int64_t>(std::ceil(fraction * static_cast<double>(n) * (1 - 1e-12)));
    taken.push_back(std::clamp<int64_t>(count, 1, n));
  }
  std::vector<float> top = magnitudes_from(x, std::ranges::max(taken));
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  std::vector<double> shares;
  for (const int64_t count : taken) {
    std::ranges::nth_element(top, top.begin() + count - 1, std::greater{});
    double energy = 0;
    for (int64_t i = 0; i < count; ++i) energy += static_cast<double>(top[i]) * static_cast<double>(top[i]);
    shares.push_back(total > 0 ? std::min(energy / total, 1.0) : 1);
  }
  return shares;
}

double gini(std::span<const float> x) {
  require(!x.empty(), "[gini] got no elements");
  const std::vector<uint32_t> sorted = sorted_bits(x);
  const auto n = static_cast<double>(x.size());
  double sum = 0, weighted = 0;
  for (size_t k = 0; k < sorted.size(); ++k) {
    const auto magnitude = static_cast<double>(std::bit_cast<float>(sorted[k]));
    sum += magnitude;
    weighted += magnitude * (n - static_cast<double>(k) - 0.5);
  }
  return sum == 0 ? 1 : std::max(0.0, 1 - 2 * weighted / (sum * n));
}

LogBins::LogBins(double least, double most, int64_t bins_per_decade) : bins_per_decade_(bins_per_decade) {
  require(least > 0 && least <= most && std::isfinite(most), "[LogBins] got the range ", least, " .. ", most);
  require(bins_per_decade >= 1 && bins_per_decade <= 20, "[LogBins] got ", bins_per_decade,
          " bins a decade; expected 1 to 20");  // above, a group of floats could hold two edges
  const auto per_decade = static_cast<double>(bins_per_decade);
  const auto edge_above = [&](int64_t index) {
    return least_float_from(std::pow(10.0, static_cast<double>(index) / per_decade));
  };
  first_edge_ = static_cast<int64_t>(std::floor(std::log10(least) * per_decade));
  while (static_cast<double>(edge_above(first_edge_)) > least) --first_edge_;
  edges_.push_back(edge_above(first_edge_));
  for (int64_t i = first_edge_ + 1; static_cast<double>(edges_.back()) <= most; ++i)
    edges_.push_back(edge_above(i));
  first_bin_.resize(kGroups);
  for (size_t g = 0; g < kGroups; ++g) {
    const auto lowest = std::bit_cast<float>(static_cast<uint32_t>(g << kShift));
    const auto bin = std::ranges::upper_bound(edges_, lowest) - edges_.begin() - 1;
    first_bin_[g] = static_cast<int32_t>(std::clamp<int64_t>(bin, 0, bins() - 1));
  }
}

std::vector<double> LogBins::log10_edges() const {
  std::vector<double> edges;
  for (int64_t i = 0; i <= bins(); ++i) {
    edges.push_back(static_cast<double>(first_edge_ + i) / static_cast<double>(bins_per_decade_));
  }
  return edges;
}

int64_t LogBins::count(std::span<const float> x, std::span<int64_t> counts) const {
  require(std::ssize(counts) == bins(), "[LogBins] got ", counts.size(), " counters; expected ", bins());
  constexpr size_t ways = 4;
  std::vector<int64_t> parts(ways * counts.size(), 0);
  int64_t zeros = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const float magnitude = std::fabs(x[i]);
    size_t bin = 0;
    if (magnitude >= std::numeric_limits<float>::min()) {
      bin = static_cast<size_t>(first_bin_[bits(magnitude) >> kShift]);
      bin += magnitude >= edges_[bin + 1] ? 1 : 0;
    } else if (magnitude == 0) {
      ++zeros;
      continue;
    } else {  // a group of subnormal floats can hold many edges
      bin = static_cast<size_t>(std::ranges::upper_bound(edges_, magnitude) - edges_.begin() - 1);
    }
    ++parts[i % ways * counts.size() + bin];
  }
  for (size_t i = 0; i < parts.size(); ++i) counts[i % counts.size()] += parts[i];
  return zeros;
}

double LinearBins::edge(int64_t i) const {
  const double low = least == most ? least - 0.5 : least, high = least == most ? most + 0.5 : most;
  return i == bins ? high : low + static_cast<double>(i) * ((high - low) / static_cast<double>(bins));
}

void LinearBins::count(std::span<const float> x, std::span<int64_t> counts) const {
  require(std::ssize(counts) == bins, "[LinearBins] got ", counts.size(), " counters; expected ", bins);
  constexpr size_t ways = 4, block = 1024;
  std::vector<double> edges;
  for (int64_t i = 0; i <= bins; ++i) edges.push_back(edge(i));
  std::vector<int64_t> parts(ways * bins, 0);
  const double low = edges.front(), per_unit = static_cast<double>(bins) / (edges.back() - low);
  const auto last = static_cast<int32_t>(bins - 1);
  std::array<int32_t, block> index{};
  for (size_t begin = 0; begin < x.size(); begin += block) {
    const size_t n = std::min(block, x.size() - begin);
    const float* data = x.data() + begin;
    int32_t doubtful = 0;  // positions so near an edge that the product may have rounded across it
#pragma omp simd reduction(+ : doubtful)
    for (size_t i = 0; i < n; ++i) {
      const double position = (static_cast<double>(std::fabs(data[i])) - low) * per_unit;
      const auto bin = static_cast<int32_t>(position);
      const double rest = position - static_cast<double>(bin);
      index[i] = bin < last ? bin : last;
      doubtful += rest < 1e-9 || rest > 1 - 1e-9 ? 1 : 0;
    }
    for (size_t i = 0; doubtful > 0 && i < n; ++i) {
      const double magnitude = std::fabs(data[i]), position = (magnitude - low) * per_unit;
      if (std::fabs(position - std::round(position)) > 1e-9) continue;
      const auto above = std::ranges::upper_bound(edges, magnitude) - edges.begin() - 1;
      index[i] = static_cast<int32_t>(std::clamp<int64_t>(above, 0, last));
    }
    for (size_t i = 0; i < n; ++i) ++parts[i % ways * bins + index[i]];
  }
  for (size_t i = 0; i < parts.size(); ++i) counts[i % counts.size()] += parts[i];
}

}  // namespace kvviz::stats
