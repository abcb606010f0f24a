// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

#include "kvviz/engine/simulate_record.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/eval/simulate.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz {

/// What the model says after the text, greedily, with the full cache (first) and under every simulation that
/// does not know the future: the text, and where it first differs from the full cache's. Each step runs the
/// model for one token. The text is cut where text and generated tokens exceed the context.
std::vector<GeneratedText> generate_texts(const Runner& runner, const TextInput& text,
                                          std::span<const Simulation> simulations,
                                          const SimulateOptions& options);

/// Table `generated`, key: policy, budget.
Table generated_table(std::span<const GeneratedText> texts);

}  // namespace kvviz
