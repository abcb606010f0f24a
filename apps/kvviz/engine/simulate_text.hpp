// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/engine/simulate_record.hpp"
#include "kvviz/engine/simulate_run.hpp"

namespace kvviz {

/// Runs a text under every simulation; `first`: keeps what is shown of the first text alone, needle and
/// generation left out. Throws as simulate() and compare_predictions() do.
SimulationRecord simulate_text(const Decoder& decoder, const TextInput& text, const SimulatePlan& plan,
                               bool first);

}  // namespace kvviz
