// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// Predictions of one text with the full cache and with another one, token by token; entry i judges the
/// prediction of token i + 1.
struct PairedScores {
  std::vector<double> nll_full, nll;  ///< -ln p(token), nats
  std::vector<double> kl;  ///< KL(full || other) = sum_j p_full(j) ln(p_full(j) / p(j)), nats, >= 0
  std::vector<unsigned char> agrees;  ///< 1 where both find the same token most likely (first of equals)
};

/// Compares hidden states [rows, hidden], of the tokens ids[0 .. n-1) and perhaps more, with those of the
/// full cache: one entry a test. The reference's logits are computed once for all tests; logits in f32, sums
/// in f64, in chunks of 256 rows: never tokens x vocabulary at once. 2 * tokens * hidden * vocabulary flops
/// for the reference and for each test, and two exponentials a logit. Equal hidden states give equal NLLs and
/// a KL of 0, exactly. Throws DataError when a logit is not finite.
std::vector<PairedScores> compare_predictions(const Decoder& decoder, const at::Tensor& full,
                                              std::span<const at::Tensor> tests,
                                              std::span<const int32_t> ids);

/// What quality_loss() takes of a text's paired scores: sums over blocks of 32 predictions, of which the last
/// may have fewer. A thirty-second of the scores' bytes.
struct BlockScores {
  int64_t predictions = 0;            ///< of all blocks
  std::vector<double> nll_full, nll;  ///< [blocks] sums, nats
  double kl = 0, kl_max = 0;          ///< sum and largest, nats
  int64_t agrees = 0;
};

/// The predictions number `from` to before `end`; those that there are.
BlockScores block_scores(const PairedScores& scores, int64_t from = 0,
                         int64_t end = std::numeric_limits<int64_t>::max());

void to_json(nlohmann::json& json, const BlockScores& scores);
/// Throws nlohmann::json::exception for what to_json() has not written.
void from_json(const nlohmann::json& json, BlockScores& scores);

/// What the texts say together.
struct QualityLoss {
  int64_t texts = 0, tokens = 0;  ///< those that count; tokens: predictions
  double nll_full = 0, nll = 0;   ///< mean, nats per token
  double ppl_full = 0, ppl = 0;   ///< exp of those
  double delta_nll = 0, delta_nll_se = 0;
  double delta_ppl = 0, delta_ppl_se = 0;  ///< ppl - ppl_full: above 0, the other cache is worse
  double kl = 0, kl_max = 0;               ///< mean and largest, nats; 0 is best
  double top1_agreement = 0;               ///< 0 .. 1; 1 is best
};

/// Means over all predictions of every text. (Those of a cache that has not lost anything yet differ by
/// nothing and would only dilute the rest: judge them apart.) Texts without any do not count.
///
/// Standard errors are of the paired difference, clustered. With m clusters of sums S_c over n_c of N
/// predictions, se^2 = m/(m-1) sum_c (S_c - n_c mean)^2 / N^2, where S_c sums nll - nll_full for delta_nll,
/// and, by the delta method on exp(mean nll) - exp(mean nll_full), ppl nll - ppl_full nll_full for delta_ppl.
/// The clusters are once the texts and once the blocks, and the larger error counts: two or three texts may
/// agree by chance, blocks of one text may depend on each other. NaN with a single block. Blocks of 32 are
/// too short where losses stretch over hundreds of tokens: on single texts of 512 WikiText tokens the error
/// of an eviction or a low rank comes out up to a fifth too small (against blocks of 128), that of a
/// quantiser not. With few texts intervals take Student's t of texts - 1, not 2: +- 2 se held the mean of 60
/// texts in 71 % of all pairs of texts and 87 % of all fours with errors between texts alone.
///
/// Throws DataError when no prediction is left.
QualityLoss quality_loss(std::span<const BlockScores> texts);

/// The same of the predictions number `from` to before `end` of every text.
QualityLoss quality_loss(std::span<const PairedScores> texts, int64_t from = 0,
                         int64_t end = std::numeric_limits<int64_t>::max());

}  // namespace kvviz
