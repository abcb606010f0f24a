// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/engine/subject.hpp"
#include "kvviz/eval/simulate.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz {

/// What the model says after the first text, greedily, with the full cache and under every simulation that
/// does not know the future: the text, and where it first differs from the full cache's. Table `generated`,
/// key: policy, budget; the full cache is its first row. Each step runs the model for one token. The text is
/// cut where text and generated tokens exceed the context.
Table generated_table(const Runner& runner, const TextInput& text, std::span<const Simulation> simulations,
                      const SimulateOptions& options);

}  // namespace kvviz
