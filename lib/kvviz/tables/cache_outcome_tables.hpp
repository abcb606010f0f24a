// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/cache_outcome.hpp"
#include "kvviz/report/table.hpp"

namespace kvviz::tables {

/// An outcome and what names it in a table: one text for each of the key's columns.
struct NamedOutcome {
  std::vector<std::string> names;
  const analysis::CacheOutcome* outcome = nullptr;
};

/// Error of the attention output of each query head (CacheOutcomeLayer::head_output_error). Key: `columns`,
/// layer, head. No rows for outcomes that no attention read.
Table head_errors_table(const std::string& name, const std::vector<std::string>& columns,
                        std::span<const NamedOutcome> outcomes);

/// An outcome on one text, named in the same way.
struct NamedText {
  std::vector<std::string> names;
  const analysis::TextOutcome* outcome = nullptr;
};

/// What each text lost. Key: text, `columns`.
Table text_outcomes_table(const std::string& name, const std::vector<std::string>& columns,
                          std::span<const NamedText> outcomes);

}  // namespace kvviz::tables
