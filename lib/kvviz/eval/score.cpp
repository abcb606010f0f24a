// SPDX-License-Identifier: MIT
#include "kvviz/eval/score.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/eval/logit_rows.hpp"

namespace kvviz {

double TokenScores::mean_nll() const {
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

double TokenScores::perplexity() const {
  return std::exp(mean_nll());
}

TokenScores score(const Decoder& decoder, const at::Tensor& hidden, std::span<const int32_t> ids) {
  const at::NoGradGuard no_grad;
  const auto predictions = static_cast<int64_t>(ids.size()) - 1;
  TokenScores scores;
  for (int64_t first = 0; first < predictions; first += logit_chunk_rows) {
    const int64_t rows = std::min(logit_chunk_rows, predictions - first);
    const LogitRows logits(decoder, hidden, first, rows);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t token = first + r + 1;
      const int32_t right = ids[static_cast<size_t>(token)];
      const double nll = logits.nll(r, right);
      require(std::isfinite(nll), "the prediction of token ", token, " is ", nll,
              "; the model computes NaN or infinite logits on this text");
      scores.nll.push_back(nll);
      scores.top1.push_back(logits.best(r) == right);
    }
  }
  return scores;
}

}  // namespace kvviz
