// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/analysis/simulation.hpp"
#include "kvviz/engine/simulate_run.hpp"

namespace kvviz {

/// The first text with a needle in it, the question behind it and the answer at the end.
struct NeedleText {
  std::vector<int32_t> ids;
  int64_t needle_begin = 0, needle_end = 0, question_begin = 0, answer_begin = 0;
};

struct NeedlePlace {
  double depth = 0;
  int64_t length = 0;         ///< tokens without the answer
  NeedleText hidden, absent;  ///< with the needle, without it
};

/// The needle at every depth and length, or where the text has it. Pieces are tokenised once each and joined
/// as ids. Throws UsageError when needle, question and answer do not fit in a length or the context, the text
/// is too short, or does not have the needle.
std::vector<NeedlePlace> needle_places(const Tokenizer& tokenizer, const TextInput& text,
                                       const ModelConfig& config, const NeedleOptions& options);

/// How much of the needle each policy still holds when the answer begins, and what the model makes of it.
std::vector<analysis::NeedleCell> find_needle(const Runner& runner, std::span<const NeedlePlace> places,
                                              std::span<const Simulation> simulations,
                                              const SimulateOptions& options);

}  // namespace kvviz
