// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvviz::policy {

/// How many keys a slot set may hold after a step: a number of tokens, or a fraction of the text's tokens
/// that is kept (kvpress's ratio is the fraction removed).
struct Budget {
  int64_t tokens = 0;     ///< used when > 0
  double fraction = 0;    ///< in (0, 1]
  std::string text = {};  ///< its one spelling: "256", "0.25", "1.0"; the same number, the same text
};

/// "256" is tokens, "0.25", ".25", "25e-2" and "1.0" are fractions, whose text has no exponent. Throws
/// UsageError for 0, negative numbers, fractions above 1 and anything else.
Budget parse_budget(std::string_view text);

/// Keys per slot set for a text of `tokens`: a fraction is rounded down, but to no less than 1.
int64_t resolve(const Budget& budget, int64_t tokens);

/// PyramidKV (Cai et al. 2024, arXiv 2406.02069), keys per slot set of each layer, falling in equal steps
/// from the first layer to the last. `budget` is the mean, `window` of it the recent keys that every layer
/// keeps; with b = budget - window: min = b / beta (integer division), max = 2 b - min; where max reaches the
/// `tokens` - window keys there are, max is that and min = 2 b - max; layer l gets max - l * step + window,
/// step = (max - min) / (layers - 1). They sum to layers * budget, or more by less than layers^2 / 2, for
/// `step` is rounded down. All layers get `budget` when it is not below `tokens`, or when 2 b exceeds them.
/// `tokens` 0: not known, taken as many.
std::vector<int64_t> pyramid_budgets(int64_t layers, int64_t budget, int64_t window, int64_t beta,
                                     int64_t tokens);

}  // namespace kvviz::policy
