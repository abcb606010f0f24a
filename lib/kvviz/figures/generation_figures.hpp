// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/legacy.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

/// One moment of a generation. kNone: does not exist (no new tokens yet).
struct GenerationStage {
  std::string name;  ///< prefill, early, mid, late
  int64_t cache_tokens = 0, bytes = 0;
  double legacy_k_sparsity = analysis::kNone,
         legacy_v_sparsity = analysis::kNone;  ///< all tokens of the cache
  double legacy_k_sparsity_new = analysis::kNone,
         legacy_v_sparsity_new = analysis::kNone;                   ///< generated tokens only
  double k_rms = analysis::kNone, v_rms = analysis::kNone;          ///< tokens of the prompt
  double k_rms_new = analysis::kNone, v_rms_new = analysis::kNone;  ///< generated tokens
};

struct GenerationStages {
  std::vector<GenerationStage> stages;
  std::string generated_text;
};

/// tokens/generation_stages_comparison: the cache at each stage, prompt beside generated tokens.
NamedFigure generation_figure(const GenerationStages& generation);

}  // namespace kvviz::figures
