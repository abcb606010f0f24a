// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/eval/compare.hpp"

namespace kvviz {

/// The loss in the fields of an outcome, which analysis cannot take from eval.
template <class Outcome>
void set_loss(Outcome& outcome, const QualityLoss& loss) {
  outcome.predictions = loss.tokens;
  outcome.nll = loss.nll;
  outcome.delta_nll = loss.delta_nll;
  outcome.delta_nll_se = loss.delta_nll_se;
  outcome.ppl = loss.ppl;
  outcome.delta_ppl = loss.delta_ppl;
  outcome.delta_ppl_se = loss.delta_ppl_se;
  outcome.kl = loss.kl;
  outcome.kl_max = loss.kl_max;
  outcome.top1_agreement = loss.top1_agreement;
}

}  // namespace kvviz
