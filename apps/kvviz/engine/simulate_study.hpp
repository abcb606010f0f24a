// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <span>
#include <vector>

#include "kvviz/engine/simulate_record.hpp"
#include "kvviz/engine/text_run.hpp"
#include "kvviz/policy/policy.hpp"

namespace kvviz {

/// One simulation over all texts, added up text by text.
class OutcomeSum {
 public:
  explicit OutcomeSum(const ModelConfig& config);
  void add(const SimulationRecord& text, const OutcomeRecord& outcome);
  analysis::PolicyOutcome outcome() const;

 private:
  const ModelConfig* config_;
  std::string policy_, budget_;
  std::vector<BlockScores> scored_;
  double nll_full_ = 0, nll_ = 0;
  std::vector<analysis::HeadOutcome> heads_;
  std::vector<int64_t> demands_, hits_;
  std::vector<analysis::SetOutcome> sets_;
  std::vector<int64_t> sinks_, sinks_held_, heavy_, heavy_held_;
  std::vector<int64_t> full_tokens_;  ///< [layer] that a full cache holds at the end, of all texts
  int64_t metadata_ = 0, peak_metadata_ = 0, tokens_ = 0;
  double seconds_ = 0;
};

/// What the records of all texts say together.
struct SimulateRun {
  analysis::SimulationStudy study;
  std::optional<FirstText> first;  ///< none: it has failed
  std::string first_name;          ///< of the text
  std::vector<int32_t> log;        ///< [evictions x 7], as the array `evictions`
  SubjectOrigin origin;
};

/// Throws UsageError where the texts were not measured with the same --budget-table.
SimulateRun gather_simulations(const TextRun& texts, const SimulateOptions& options);

/// Large arrays: what the first text's keys got with the full cache, and the eviction log.
void write_simulate_arrays(const std::filesystem::path& file, const SimulateRun& run);

}  // namespace kvviz
