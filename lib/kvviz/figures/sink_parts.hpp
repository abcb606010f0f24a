// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <string>
#include <vector>

#include "kvviz/analysis/sink_study.hpp"
#include "kvviz/figures/sink_figures.hpp"

namespace kvviz::figures {

// What the files of the sink figures share.

plot::Figure one_panel(const std::string& title, plot::Panel panel, int height = 640);
plot::Figure two_panels(const std::string& title, plot::Panel left, plot::Panel right);

/// ">= 0.9" or "> 0.3", as the rule's metric has it.
std::string limit(const analysis::SinkRule& rule);
plot::Reference threshold_line(const analysis::SinkRule& rule, plot::Reference::Direction direction);

/// From 0; up to 1 unless all values are small, so that rates of different figures look alike.
plot::Axis share_axis(const std::string& label, double largest);

/// Layers on x, values from 0 on y.
plot::Panel layer_axes(const std::string& title, const std::string& y);

/// Colours of the three rates.
inline constexpr plot::Colour query_heads{0x0072b2}, query_heads_of_mean{0x56b4e9}, kv_groups{0xd55e00};
inline constexpr const char* query_heads_label = "query heads: threshold, then average";
inline constexpr const char* query_heads_of_mean_label = "query heads: average, then threshold";
inline constexpr const char* kv_groups_label = "whole KV groups (free memory)";

/// sinks/seq_length_vs_sink_percentage: alpha_k at every length of the study, beside uniform attention; where
/// no curve was measured, every text at its own length.
plot::Figure length_figure(const SinkFigureInput& input);
/// sinks/threshold_sweep.
plot::Figure sweep_figure(const analysis::SinkSummary& summary);
/// sinks/sink_tokens. At least one layer.
plot::Figure token_kinds_figure(std::span<const analysis::LayerSinks> layers);
/// sinks/sink_keys. A study that counted keys.
plot::Figure sink_keys_figure(const analysis::SinkSummary& summary);
/// sinks/sink_norms.
plot::Figure norms_figure(std::span<const analysis::LayerSinks> layers);

}  // namespace kvviz::figures
