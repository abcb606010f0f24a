// SPDX-License-Identifier: MIT
#pragma once
#include "kvviz/analysis/generation_study.hpp"
#include "kvviz/report/result.hpp"

namespace kvviz::tables {

// A generation as tidy tables; definitions are in analysis/generation.hpp and generation_study.hpp.

Table generation_table(const analysis::GenerationResult& cache);        ///< key: stage
Table generation_steps_table(const analysis::GenerationStudy& study);   ///< key: step, from 1 on
Table generation_layers_table(const analysis::GenerationStudy& study);  ///< key: layer
Table generation_heads_table(const analysis::GenerationStudy& study);   ///< key: layer, head
/// "generated", key: policy, budget; the full cache first.
Table generated_table(const analysis::GenerationStudy& study);
/// What a policy's cache holds; key: policy, budget, step, 0 being the prompt.
Table generated_steps_table(const analysis::GenerationStudy& study);

std::vector<Fact> generation_facts(const analysis::GenerationStudy& study);

}  // namespace kvviz::tables
