// SPDX-License-Identifier: MIT
#include "kvviz/cache/layer_queries.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

// Attention takes them as f32.
constexpr double least = std::numeric_limits<float>::min(), greatest = std::numeric_limits<float>::max();

}  // namespace

void validate(const AttentionTerms& terms, int64_t query_heads, const std::string& where) {
  require(terms.scale >= least && terms.scale <= greatest, where, ": scale: got ", terms.scale,
          "; expected a finite number above 0");
  require(terms.softcap == 0 || (terms.softcap >= least && terms.softcap <= greatest), where,
          ": softcap: got ", terms.softcap, "; expected 0 (none) or a finite number above 0");
  require(terms.alibi_slopes.empty() || std::ssize(terms.alibi_slopes) == query_heads, where, ": got ",
          terms.alibi_slopes.size(), " ALiBi slopes; expected one for each of ", query_heads, " query heads");
  require(std::ranges::all_of(terms.alibi_slopes, [](float slope) { return std::isfinite(slope); }), where,
          ": the ALiBi slopes hold NaN or infinite numbers");
}

void validate(const TokenLosses& losses, int64_t tokens, const std::string& where) {
  require(std::ssize(losses.nll) == tokens - 1 && losses.top1.size() == losses.nll.size(), where, ": got ",
          losses.nll.size(), " negative log-likelihoods and ", losses.top1.size(), " top-1 marks of ", tokens,
          " tokens; expected one of each for every token but the first");
  require(std::ranges::all_of(losses.nll, [](double nll) { return std::isfinite(nll); }), where,
          ": the negative log-likelihoods hold NaN or infinite numbers");
  require(std::ranges::all_of(losses.top1, [](unsigned char hit) { return hit <= 1; }), where,
          ": the top-1 marks hold other numbers than 0 and 1");
}

}  // namespace kvviz
