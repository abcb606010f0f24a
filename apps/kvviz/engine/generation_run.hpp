// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/analysis/generation_study.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/eval/sample.hpp"
#include "kvviz/eval/simulate.hpp"

namespace kvviz {

struct GenerationRequest {
  std::span<const int32_t> prompt;
  int64_t tokens = 0;  ///< most that are generated
  SamplingOptions sampling;
  bool ignore_eos = false;
  analysis::StageOptions stages;
  analysis::LegacyOptions legacy;
  bool quiet = false;
};

struct GenerationRun {
  analysis::GenerationStudy study;
  std::vector<int32_t> ids;  ///< generated
};

/// Continues the prompt with the full cache: the cache at its stages, and where each step's attention goes.
GenerationRun generate_in_full(const Runner& runner, const GenerationRequest& request);

/// Continues the prompt under a policy, with the same random numbers, beside the text of the full cache.
analysis::EvictedText generate_evicting(const Runner& runner, const GenerationRequest& request,
                                        const Simulation& simulation, const SimulationOptions& settings,
                                        const GenerationRun& full);

}  // namespace kvviz
