// SPDX-License-Identifier: MIT
#include "kvviz/eval/score.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {
constexpr int64_t chunk_rows = 256;
}

double TokenScores::mean_nll() const {
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

double TokenScores::perplexity() const { return std::exp(mean_nll()); }

TokenScores score(const Decoder& decoder, const at::Tensor& hidden, std::span<const int32_t> ids) {
  const at::NoGradGuard no_grad;
  const auto predictions = static_cast<int64_t>(ids.size()) - 1;
  TokenScores scores;
  for (int64_t first = 0; first < predictions; first += chunk_rows) {
    const int64_t rows = std::min(chunk_rows, predictions - first);
    const at::Tensor logits = decoder.logits(hidden.narrow(0, first, rows));
    const at::Tensor target = at::empty({rows, 1}, at::kLong);
    std::copy_n(ids.begin() + first + 1, rows, target.data_ptr<int64_t>());
    const at::Tensor nll = at::logsumexp(logits, -1).sub(logits.gather(1, target).squeeze(1));
    const at::Tensor right = logits.argmax(-1).eq(target.squeeze(1));
    for (int64_t i = 0; i < rows; ++i) {
      const double value = nll.data_ptr<float>()[i];
      require(std::isfinite(value), "the prediction of token ", first + i + 1, " is ", value,
              "; the model computes NaN or infinite logits on this text");
      scores.nll.push_back(value);
      scores.top1.push_back(right.data_ptr<bool>()[i]);
    }
  }
  return scores;
}

int32_t next_token(const Decoder& decoder, const at::Tensor& hidden) {
  const at::NoGradGuard no_grad;
  return static_cast<int32_t>(decoder.logits(hidden.narrow(0, hidden.size(0) - 1, 1)).argmax().item<int64_t>());
}

}  // namespace kvviz
