// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/sink_study.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/eval/sink_reuse.hpp"
#include "kvviz/figures/sink_figures.hpp"
#include "kvviz/report/result.hpp"

namespace kvviz {

/// One way of replacing the attention of sink heads, over all texts.
struct ReuseVariant {
  SinkSubstitute substitute{};
  QualityLoss loss;
  AttentionCost cost, full_cost;                             ///< summed over the texts
  double attention_seconds = 0, attention_seconds_full = 0;  ///< medians, summed over the texts
  double seconds = 0, seconds_full = 0;
};

struct ReuseEvaluation {
  int64_t heads = 0, replaced = 0;  ///< query heads of the model, and those that are replaced
  int64_t texts = 0, left_out = 0;  ///< texts evaluated, texts longer than --reuse-up-to
  bool same_texts = false;          ///< heads were chosen on the texts that judge them
  std::vector<ReuseVariant> variants;
};

/// Throws UsageError where --reuse-layers names a layer that is none.
void check_reuse(const ReuseOptions& options, size_t layers);

/// Chooses the heads by the rule on every second text, judges them on the others (on the same text when there
/// is one), and runs each text with full attention and with each substitute. Throws DataError when no text is
/// short enough.
ReuseEvaluation evaluate_reuse(const Runner& runner, std::span<const TextInput> texts,
                               const analysis::SinkStudy& study, const SinksOptions& options);

std::vector<Fact> reuse_facts(const ReuseEvaluation& evaluation);
/// What each substitute does to the predictions, and what it saves.
Table reuse_table(const ReuseEvaluation& evaluation);
Table reuse_cost_table(const ReuseEvaluation& evaluation);
std::vector<figures::ReuseVariantRow> reuse_rows(const ReuseEvaluation& evaluation);

}  // namespace kvviz
