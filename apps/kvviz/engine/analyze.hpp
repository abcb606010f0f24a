// SPDX-License-Identifier: MIT
#pragma once
#include <optional>

#include "kvviz/analysis/attention.hpp"
#include "kvviz/analysis/channels.hpp"
#include "kvviz/analysis/distribution.hpp"
#include "kvviz/analysis/generation_study.hpp"
#include "kvviz/analysis/heads.hpp"
#include "kvviz/analysis/layers.hpp"
#include "kvviz/analysis/tokens.hpp"
#include "kvviz/engine/batch_output.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/figures/named_figure.hpp"
#include "kvviz/options.hpp"
#include "kvviz/report/result.hpp"

namespace kvviz {

/// Which parts of `analyze` were asked for; the others are neither computed nor drawn.
struct Focus {
  bool layers = false, heads = false, tokens = false, embeddings = false, attention = false,
       distribution = false;
  bool each_token = true;  ///< false: of many texts, what tokens have one by one is not put out
  bool needs_attention() const { return attention || tokens; }
};

/// Throws UsageError for a name that is none, listing them.
Focus parse_focus(const std::vector<std::string>& names);

/// Results of the parts that ran.
struct Analyses {
  std::optional<analysis::HeadsResult> heads;
  std::optional<analysis::LayersResult> layers;
  std::optional<analysis::TokensResult> tokens;
  std::optional<analysis::ChannelsResult> channels;
  std::optional<analysis::DistributionResult> distribution;
  std::optional<analysis::AttentionResult> attention;
  std::optional<analysis::GenerationStudy> generation;
};

Analyses run_analyses(const Subject& subject, const AnalyzeOptions& options, const Focus& focus);

/// The cache as it grows while the model goes on after the first half of the text (at most 64 tokens):
/// prefill, and after a fifth, half and all of `generate` greedy steps.
analysis::GenerationStudy generation_after(const Runner& runner, const Subject& subject,
                                           const AnalyzeOptions& options);

std::vector<Fact> summary_facts(const Subject& subject, const Analyses& analyses, const Focus& focus);
std::vector<Table> result_tables(const Subject& subject, const Analyses& analyses, const Focus& focus);
std::vector<figures::NamedFigure> result_figures(const Subject& subject, const Analyses& analyses,
                                                 const AnalyzeOptions& options, const Focus& focus);
bool has_arrays(const Subject& subject, const Analyses& analyses);
/// Large arrays: attention, maps, token and channel matrices.
void write_arrays(const std::filesystem::path& path, const Subject& subject, const Analyses& analyses);

/// For provenance.
nlohmann::ordered_json effective_options(const AnalyzeOptions& options);

/// What is put together of many texts: tables by layer, head, channel and stage; none of a text's own tokens.
BatchLayout analyze_layout();

}  // namespace kvviz
