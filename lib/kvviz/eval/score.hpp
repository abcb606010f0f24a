// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// How well a model predicts a text, teacher-forced: entry i judges the prediction of token i + 1.
struct TokenScores {
  std::vector<double> nll;          ///< -ln p(token), nats; lower is better
  std::vector<unsigned char> top1;  ///< 1 where the most likely token is the right one (first of equals)

  double mean_nll() const;
  double perplexity() const;  ///< exp(mean_nll)
};

/// Scores ids[1..] from the hidden states of ids[0..n-1), [n or more rows, hidden]. Logits in f32, in chunks
/// of rows: never tokens x vocabulary at once. 2 * tokens * hidden * vocabulary flops. Throws DataError when
/// a logit is NaN or infinite.
TokenScores score(const Decoder& decoder, const at::Tensor& hidden, std::span<const int32_t> ids);

}  // namespace kvviz
