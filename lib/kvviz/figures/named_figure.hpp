// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/plot/figure.hpp"

namespace kvviz::figures {

/// A figure and its place below the folder of the figures, without extension: "layers/layer_statistics".
struct NamedFigure {
  std::string file;
  plot::Figure figure;
};

/// One value of a layer x head (or token, channel) matrix.
struct MatrixEntry {
  int64_t row = 0, col = 0;
  double value = 0;
};

/// A heat map of the entries, one row a layer. Places that no entry fills have no value (grey): layers may
/// differ in their numbers of heads.
plot::Heatmap matrix(std::span<const MatrixEntry> entries, const std::string& z_label);

/// A panel of one heat map over layers (y).
plot::Panel layer_panel(const std::string& title, const std::string& x_label, plot::Heatmap map);

/// 0, 1, ..., n - 1.
std::vector<double> indices(size_t n);

/// Tokens as axis labels: position and text (white space made visible).
std::vector<std::string> token_names(std::span<const std::string> texts);

/// Which tokens are ranked as heavy, in words (AttentionResult::ranking).
std::string ranking_rule();

/// Decimals that tell the finite values of a map from each other: at least two digits of their spread, at
/// most 3 decimals.
int decimals_for(const std::vector<double>& values);

/// The start of a subtitle: `what`, which names the texts, else their number; "demo, 8 texts, ".
std::string over_texts(const std::string& what, int64_t texts);

/// "1 %", "0.1", "0.25": a number as people write it.
std::string plain_number(double value);

}  // namespace kvviz::figures
