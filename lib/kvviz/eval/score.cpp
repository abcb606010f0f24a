// SPDX-License-Identifier: MIT
#include "kvviz/eval/score.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/log_sum_exp.hpp"

namespace kvviz {
namespace {
constexpr int64_t chunk_rows = 256;
}

double TokenScores::mean_nll() const {
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

double TokenScores::perplexity() const {
  return std::exp(mean_nll());
}

TokenScores score(const Decoder& decoder, const at::Tensor& hidden, std::span<const int32_t> ids) {
  const at::NoGradGuard no_grad;
  const auto predictions = static_cast<int64_t>(ids.size()) - 1;
  const int64_t vocabulary = decoder.config().vocabulary;
  TokenScores scores;
  for (int64_t first = 0; first < predictions; first += chunk_rows) {
    const int64_t rows = std::min(chunk_rows, predictions - first);
    const at::Tensor logits = decoder.logits(hidden.narrow(0, first, rows));
    const float* row = logits.data_ptr<float>();
    const auto summaries = kernels::log_sum_exp(row, rows, vocabulary);
    for (int64_t i = first; i < first + rows; ++i, row += vocabulary) {
      const kernels::RowSummary& summary = summaries[static_cast<size_t>(i - first)];
      const float* const right = row + ids[static_cast<size_t>(i) + 1];
      const double nll = summary.log_sum_exp - static_cast<double>(*right);
      require(std::isfinite(nll), "the prediction of token ", i + 1, " is ", nll,
              "; the model computes NaN or infinite logits on this text");
      scores.nll.push_back(nll);
      scores.top1.push_back(*right == summary.maximum && std::find(row, right, *right) == right);
    }
  }
  return scores;
}

int32_t next_token(const Decoder& decoder, const at::Tensor& hidden) {
  const at::NoGradGuard no_grad;
  return static_cast<int32_t>(
      decoder.logits(hidden.narrow(0, hidden.size(0) - 1, 1)).argmax().item<int64_t>());
}

}  // namespace kvviz
