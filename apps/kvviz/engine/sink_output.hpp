// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "kvviz/engine/sink_run.hpp"
#include "kvviz/report/result.hpp"

namespace kvviz {

/// What a run says under a rule.
struct SinkFindings {
  analysis::SinkSummary summary;
  analysis::AcrossLayers all;                   ///< over all texts
  std::vector<analysis::AcrossLayers> by_text;  ///< of each text
};
SinkFindings find_sinks(const analysis::SinkStudy& study, const analysis::SinkRule& rule,
                        const analysis::SinkOptions& options);

std::vector<Fact> sink_facts(const SinkRun& run, const SinkFindings& findings,
                             const analysis::SinkOptions& options);

}  // namespace kvviz
