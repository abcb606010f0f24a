// SPDX-License-Identifier: MIT
#include "kvviz/figures/named_figure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kvviz/plot/text.hpp"

namespace kvviz::figures {

plot::Heatmap matrix(std::span<const MatrixEntry> entries, const std::string& z_label) {
  plot::Heatmap map;
  map.z_label = z_label;
  for (const MatrixEntry& entry : entries) {
    map.rows = std::max(map.rows, static_cast<int>(entry.row) + 1);
    map.cols = std::max(map.cols, static_cast<int>(entry.col) + 1);
  }
  map.rows = std::max(map.rows, 1), map.cols = std::max(map.cols, 1);
  const auto cols = static_cast<size_t>(map.cols);
  map.z.assign(static_cast<size_t>(map.rows) * cols, std::numeric_limits<double>::quiet_NaN());
  for (const MatrixEntry& entry : entries)
    map.z[static_cast<size_t>(entry.row) * cols + static_cast<size_t>(entry.col)] = entry.value;
  return map;
}

plot::Panel layer_panel(const std::string& title, const std::string& x_label, plot::Heatmap map) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = x_label, .whole = true};
  panel.y = {.label = "layer", .whole = true};
  panel.marks.emplace_back(std::move(map));
  return panel;
}

std::vector<double> indices(size_t n) {
  std::vector<double> out(n);
  std::iota(out.begin(), out.end(), 0.0);
  return out;
}

std::vector<std::string> token_names(std::span<const std::string> texts) {
  std::vector<std::string> out;
  out.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) out.push_back(fmt::format("{} {}", i, plot::visible(texts[i])));
  return out;
}

std::string ranking_rule() {
  return "Heaviest of the tokens that are ranked: at least --least-exposure queries (at most a quarter of "
         "the "
         "text's) can see them. The last tokens are seen by little more than themselves.";
}

int decimals_for(const std::vector<double>& values) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double value : values)
    if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  constexpr int usual = 2, most = 3;
  if (!(high > low)) return usual;
  return std::clamp(static_cast<int>(std::floor(2 - std::log10(high - low))), 0, most);
}

std::string over_texts(const std::string& what, int64_t texts) {
  return what.empty() ? fmt::format("{} text{}, ", texts, texts == 1 ? "" : "s") : what + "; ";
}

std::string plain_number(double value) {
  return fmt::format("{:g}", value);
}

}  // namespace kvviz::figures
