// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "kvviz/kernels/evicting_scan.hpp"
#include "unit/kernels/evicting_scan_reference.hpp"

namespace kvviz::test {

/// What a rule saw, by owner.
struct Seen {
  std::vector<SetWeights> weights, full_weights;
};

/// Decision groups whose rules make the choice of `c` by means of SlotSet and note what they see; they refer
/// to `c` and `seen`.
std::vector<kernels::DecisionGroup> groups(const ScanCase& c, const ScanData& data, Seen& seen);

struct Run {
  Seen seen;
  std::vector<std::vector<int32_t>> kept;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> logs;
  std::vector<int64_t> peaks;
  std::vector<kernels::HeadComparison> comparisons;
};

/// `stride` tokens per call of advance().
Run run(ScanData& data, const ScanCase& c, kernels::ScanOptions options, int64_t stride);

/// The output of one head, [tokens x head_dim].
std::vector<float> head_output(const ScanData& data, const ScanCase& c, int64_t head);

/// The largest difference; infinite when a size or a value is not comparable.
template <class Got>
double deviation(const std::vector<Got>& got, const std::vector<double>& want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double d = std::abs(static_cast<double>(got[i]) - want[i]);
    if (!(d <= worst)) worst = std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
  }
  return worst;
}

/// Weights are exp of f32 logits: relative errors of about 1e-6 times the size of a logit (here below 30).
inline constexpr double scan_tolerance = 2e-5;

void check(const Run& got, const ReferenceScan& want, const ScanData& data, const ScanCase& c);

void check_against_reference(const ScanCase& c, const kernels::ScanOptions& options = {.compare = true});

inline constexpr Choice choices[] = {
    Choice::nothing,           Choice::oldest, Choice::newest,       Choice::least_weight,
    Choice::least_full_weight, Choice::random, Choice::many_at_once, Choice::shared_least_weight};

}  // namespace kvviz::test
