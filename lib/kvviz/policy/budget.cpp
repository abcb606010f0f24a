// SPDX-License-Identifier: MIT
#include "kvviz/policy/budget.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "kvviz/core/error.hpp"

namespace kvviz::policy {
namespace {

/// The shortest decimals that are read as the same number, with a point: 1 would be a token.
std::string fraction_text(double fraction) {
  std::array<char, 512> digits{};
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), fraction, std::chars_format::fixed);
  const std::string text(digits.data(), end.ptr);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

}  // namespace

Budget parse_budget(std::string_view text) {
  constexpr int64_t most = int64_t{1} << 40;  // no text is so long, and sums of budgets do not overflow
  const auto fail = [&] {
    throw UsageError(
        cat("[budget] got '", text,
            "', expected a number of tokens (256) or a kept fraction of the text (0.25); 1 is one token, "
            "1.0 the whole text"));
  };
  Budget budget;
  const char* const end = text.data() + text.size();
  if (const auto whole = std::from_chars(text.data(), end, budget.tokens);
      whole.ec == std::errc() && whole.ptr == end) {
    if (budget.tokens <= 0 || budget.tokens > most) fail();
    budget.text = cat(budget.tokens);
    return budget;
  }
  budget.tokens = 0;
  const auto part = std::from_chars(text.data(), end, budget.fraction);
  if (part.ec != std::errc() || part.ptr != end || !(budget.fraction > 0 && budget.fraction <= 1)) fail();
  budget.text = fraction_text(budget.fraction);
  return budget;
}

int64_t resolve(const Budget& budget, int64_t tokens) {
  if (budget.tokens > 0) return budget.tokens;
  // 0.29 of 100 is 28.999999999999996 in binary, and 29.
  const double kept = budget.fraction * static_cast<double>(tokens) * (1 + 1e-12);
  return std::max<int64_t>(static_cast<int64_t>(std::floor(kept)), 1);
}

std::vector<int64_t> pyramid_budgets(int64_t layers, int64_t budget, int64_t window, int64_t beta,
                                     int64_t tokens) {
  std::vector<int64_t> budgets(static_cast<size_t>(layers), budget);
  const int64_t mean = budget - window;
  const bool known = tokens > 0;
  if (layers < 2 || mean <= 0 || (known && (budget >= tokens || 2 * mean > tokens))) return budgets;
  int64_t least = mean / beta;
  int64_t most = 2 * mean - least;
  if (known && most >= tokens - window) {
    most = tokens - window;
    least = 2 * mean - most;
  }
  const int64_t step = (most - least) / (layers - 1);
  for (int64_t layer = 0; layer < layers; ++layer)
    budgets[static_cast<size_t>(layer)] = most - layer * step + window;
  return budgets;
}

}  // namespace kvviz::policy
