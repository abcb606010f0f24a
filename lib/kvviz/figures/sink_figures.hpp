// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/sink_study.hpp"
#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

struct SinkFigureInput {
  const analysis::SinkStudy* study = nullptr;
  const analysis::SinkSummary* summary = nullptr;
  const analysis::AcrossLayers* across = nullptr;  ///< for the note of layer_sink_frequency; null: none
  std::span<const analysis::LayerSinks> layers;    ///< kinds and norms over all texts; empty: not measured
  bool synthetic = false;                          ///< random numbers: every title and subtitle says so
  std::string subtitle{};                          ///< what was measured on what
  std::string subtitle_over_lengths{};             ///< the same without a length; empty: as subtitle
};

/// Below sinks/: sink_heatmap_enhanced, avg_sink_score_by_layer_enhanced, layer_sink_frequency, sink_mask,
/// threshold_sweep, 3d_sink_patterns, combined_analysis; of more than one text head_consistency; where there
/// is more than one length seq_length_vs_sink_percentage; where measured sink_keys, sink_tokens and
/// sink_norms.
std::vector<NamedFigure> sink_figures(const SinkFigureInput& input);

/// One of two results. NaN: it has no such number.
struct SinkComparisonRun {
  std::string label;
  double tokens_min = 0, tokens_max = 0, threshold = 0;
  double rate = 0, rate_se = 0;
  double p_later = 0, p_later_low = 0, p_later_high = 0, base = 0;
  std::string metric{};    ///< the score that decides, of both runs; empty: not named
  bool synthetic = false;  ///< random numbers: title, subtitle and label say so
};

/// sinks/sink_comparison: sink rates with standard errors; P(later | first layer) with its interval, beside
/// its base rate.
NamedFigure sink_comparison_figure(const SinkComparisonRun& a, const SinkComparisonRun& b);

struct ReuseVariantRow {
  std::string variant;
  double delta_ppl = 0, delta_ppl_se = 0, kl = 0, top1 = 0;
  double seconds = 0, seconds_full = 0;
  double ppl_full = analysis::kNone;  ///< perplexity with full attention
};

/// sinks/reuse_evaluation: what each substitute does to the predictions, and to the time. A number that is
/// not finite is shown as missing.
NamedFigure reuse_figure(std::span<const ReuseVariantRow> rows);

}  // namespace kvviz::figures
