// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>

namespace kvviz::analysis {

/// The increase of the perplexity, % of that with the full cache, ppl - delta_ppl. Below 0: a decrease.
inline double ppl_percent(double ppl, double delta_ppl) {
  return 100 * delta_ppl / (ppl - delta_ppl);
}

/// Its standard error, from that of the mean difference of the NLL (nats): with r = ppl / full ppl =
/// e^delta_nll it is 100 r se(delta_nll) by the delta method. What moves both perplexities alike is not in
/// it; SE(ppl - full ppl) / full ppl holds the spread of the full cache's own NLL too.
inline double ppl_percent_error(double ppl, double delta_ppl, double delta_nll_se) {
  return 100 * ppl / (ppl - delta_ppl) * delta_nll_se;
}

/// How far the perplexity may have moved, %: |increase| and one standard error (0 where there is none). What
/// makes a text likelier by chance has changed the model as much as what makes it less likely; it does not
/// count as a gain.
inline double ppl_change_percent(double ppl, double delta_ppl, double delta_nll_se) {
  const double error = ppl_percent_error(ppl, delta_ppl, delta_nll_se);
  return std::fabs(ppl_percent(ppl, delta_ppl)) + (std::isnan(error) ? 0 : error);
}

}  // namespace kvviz::analysis
