// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace kvviz::analysis {

/// Relative errors in %, as KIVI's Table 2 has them (Liu et al., ICML 2024, arXiv 2402.02750): what rounding
/// one side alone does when the minimum and maximum are those of a token's channels, or of a channel's
/// tokens.
struct KiviErrors {
  std::string side;         ///< "keys", "values"
  std::string axis;         ///< "token", "channel"
  int layer = -1;           ///< -1: mean over layers
  double error = 0;         ///< of the side itself
  double weight_error = 0;  ///< of the softmax weights
  double output_error = 0;  ///< of the attention output
};

struct KiviStudy {
  int64_t bits = 0, group = 0;     ///< elements that share a minimum and maximum
  double sparsity = 0;             ///< % of the visible keys with less than 1 % of the row's greatest weight
  std::vector<KiviErrors> means;   ///< keys by token, keys by channel, values by token, values by channel
  std::vector<KiviErrors> layers;  ///< the same of every layer
};

}  // namespace kvviz::analysis
