// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvviz/analysis/cache_profile.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

struct ProfileFigureInput {
  const analysis::CacheSizes* sizes = nullptr;
  const analysis::CacheProfile* profile = nullptr;
  std::string subject = "";  ///< whose cache, and of how many sequences
  int64_t block_tokens = 16;
  int64_t first_tokens = 4;          ///< whose blocks count as the newest
  int64_t l2 = 0;                    ///< bytes of the accelerator's L2; 0: not shown
  std::optional<int64_t> context{};  ///< most positions the model was made for
  bool without_weights = true;       ///< the memories have not been lessened by the weights
};

/// profile/projection: size against context, longest context of a memory.
/// profile/block_map: which block is kept in which tier; with a measurement also by access, and the reads.
/// profile/transfers (with a measurement): bytes and time of a decode step by placement.
std::vector<NamedFigure> profile_figures(const ProfileFigureInput& input);

}  // namespace kvviz::figures
