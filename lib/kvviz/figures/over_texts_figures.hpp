// SPDX-License-Identifier: MIT
#pragma once
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvviz/figures/named_figure.hpp"

namespace kvviz::figures {

inline constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

/// One number of every text.
struct TextNumbers {
  std::string title, y_label;
  std::vector<double> text, values;  ///< index of the text, its number; NaN: it has none
  double mean = no_number;
  double low = no_number, high = no_number;  ///< 95 % confidence interval of the mean; NaN: one text
  std::optional<double> least{}, most{};     ///< that the number can be: the interval is clipped to them
};

/// Measures by layer: their mean over texts, and how far they spread.
struct LayerCurves {
  struct Curve {
    std::string label;  ///< empty: the panel has one
    plot::Colour colour;
    std::vector<double> layer, mean, sd;
  };
  std::string title, y_label;
  std::vector<Curve> curves;
};

/// A measure of every head: mean and standard deviation over texts.
struct HeadSpread {
  std::string title, x_label, z_label;
  std::vector<MatrixEntry> mean, sd;
  std::optional<double> least{}, most{};  ///< ends of the colours of the mean; none: of the data
};

/// At least one text each. "batch/facts": a panel for each number, a point for each text, with the mean over
/// texts and its interval.
NamedFigure text_numbers_figure(std::span<const TextNumbers> numbers);
/// "batch/layers": a panel for each, mean and +- standard deviation over texts as bands.
NamedFigure layer_curves_figure(std::span<const LayerCurves> panels);
/// "batch/heads": for each the heat map of the mean and, beside it, that of the standard deviation, where
/// some head has one: a single text has no spread.
NamedFigure head_spread_figure(std::span<const HeadSpread> heads);

}  // namespace kvviz::figures
