// SPDX-License-Identifier: MIT
#include "kvviz/figures/tokens_figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kvviz/plot/text.hpp"

namespace kvviz::figures {
namespace {

using analysis::LayerTokens;
using analysis::TokenRow;
using analysis::TokensResult;

constexpr size_t kNotes = 8;
constexpr int64_t kFirst = 16;    // tokens of the enlarged part
constexpr double kNormRange = 4;  // of the colour scale of relative norms

template <class Get>
std::vector<double> column(const TokensResult& result, Get&& get) {
  std::vector<double> out;
  for (const TokenRow& row : result.rows) out.push_back(get(row));
  return out;
}

plot::Panel over_tokens(const std::string& title, const std::string& y_label,
                        std::span<const std::string> texts) {
  plot::Panel panel;
  panel.title = title;
  panel.x = {.label = "token position", .whole = true, .names = token_names(texts)};
  panel.y = {.label = y_label};
  return panel;
}

/// What attention gives each token; the heaviest are marked and named.
plot::Panel attention_panel(const TokensResult& result, std::span<const std::string> texts) {
  const std::vector<double> received = column(result, [](const TokenRow& row) { return row.received; });
  plot::Panel panel =
      over_tokens("Attention received per query that can see the token (mean over layers and query heads)",
                  "share of attention", texts);
  panel.y.scale = plot::Scale::log10;
  plot::Series heavy{"heaviest tokens", {}, {}, plot::colours::heavy_hitter, plot::Stroke::points};
  plot::Series first{"first token", {}, {}, plot::colours::sink, plot::Stroke::points};
  const size_t marked = std::min(kNotes, result.order.size());
  for (size_t i = 0; i < marked; ++i) {
    const auto token = static_cast<size_t>(result.order[i]);
    if (!std::isfinite(received[token]) || (token > 0 && marked >= result.order.size())) continue;
    plot::Series& series = token == 0 ? first : heavy;
    series.x.push_back(static_cast<double>(token)), series.y.push_back(received[token]);
    const std::string text = token < texts.size() ? ' ' + plot::visible(texts[token]) : std::string();
    panel.marks.emplace_back(
        plot::Note{static_cast<double>(token), received[token], fmt::format("{}{}", token, text)});
  }
  plot::Lines lines{{{"", indices(received.size()), received, plot::colours::key, plot::Stroke::impulses}}};
  for (plot::Series* series : {&first, &heavy})
    if (!series->x.empty()) lines.series.push_back(std::move(*series));
  panel.marks.insert(panel.marks.begin(), std::move(lines));
  return panel;
}

plot::Panel weighted_panel(const std::vector<double>& weighted, std::span<const std::string> texts) {
  plot::Panel panel = over_tokens("The same, times the norm of the token's value: what it adds to the output",
                                  "attention x norm", texts);
  panel.y.scale = plot::Scale::log10;
  panel.marks.emplace_back(plot::Lines{
      {{"", indices(weighted.size()), weighted, plot::Colour{0xe69f00}, plot::Stroke::impulses}}});
  return panel;
}

plot::Figure importance(const TokensResult& result, std::span<const std::string> texts) {
  plot::Figure figure;
  figure.title = "Which tokens matter?";
  const std::vector<double> x = indices(result.rows.size());
  const bool measured = !result.order.empty();
  if (measured) figure.panels.push_back(attention_panel(result, texts));
  const std::vector<double> weighted = column(result, [](const TokenRow& row) { return row.value_weighted; });
  if (measured &&
      std::any_of(weighted.begin(), weighted.end(), [](double value) { return std::isfinite(value); }))
    figure.panels.push_back(weighted_panel(weighted, texts));

  plot::Panel norms =
      over_tokens("Norms of keys and values, relative to the mean token", "norm / mean norm", texts);
  norms.y.min = 0;
  norms.marks.emplace_back(
      plot::Lines{{{"keys", x, column(result, [](const TokenRow& row) { return row.k_norm_relative; }),
                    plot::colours::key},
                   {"values", x, column(result, [](const TokenRow& row) { return row.v_norm_relative; }),
                    plot::colours::value}}});
  norms.marks.emplace_back(plot::Reference{.at = 1, .label = "mean token"});
  figure.panels.push_back(std::move(norms));

  plot::Panel legacy = over_tokens("legacy: importance from norms alone", "score", texts);
  legacy.note = "A large norm is not importance: where attention sinks have small values they rank low here.";
  legacy.y.min = 0;
  legacy.marks.emplace_back(plot::Lines{
      {{"legacy score", x, column(result, [](const TokenRow& row) { return row.legacy_importance; }),
        plot::Colour{0x009e73}, plot::Stroke::impulses}}});
  figure.panels.push_back(std::move(legacy));
  figure.height = 150 + 290 * static_cast<int>(figure.panels.size());
  if (measured) {
    figure.row_weights = {1.3};
    if (result.order.size() > kNotes) figure.caption = ranking_rule();
  } else {
    figure.caption =
        "Attention was not measured (a cache without its model): norms alone do not say which tokens matter.";
  }
  return figure;
}

/// Which table of a layer, and how it is coloured.
struct Table {
  const char *title, *z_label;
  std::vector<double> LayerTokens::*values;
  bool relative;  ///< around 1
};

/// The tokens from `begin` to `end`; on one colour scale whatever the part.
plot::Panel layer_by_token(const TokensResult& result, const Table& table, int64_t end,
                           std::span<const std::string> texts) {
  std::vector<MatrixEntry> entries;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const LayerTokens& layer : result.layers) {
    const std::vector<double>& values = layer.*table.values;
    for (size_t t = 0; t < values.size(); ++t) {
      const int64_t token = layer.first_token + static_cast<int64_t>(t);
      if (token < end) entries.push_back({layer.layer, token, values[t]});
      if (std::isfinite(values[t])) low = std::min(low, values[t]), high = std::max(high, values[t]);
    }
  }
  plot::Heatmap map = matrix(entries, table.z_label);
  if (table.relative) {
    map.map = plot::ColourMap::diverging;
    map.z_scale = plot::Scale::log10;
    map.z_min = 1 / kNormRange, map.z_max = kNormRange;
  } else if (low <= high) {
    map.z_min = low, map.z_max = high;
  }
  plot::Panel panel = layer_panel(table.title, "token position", std::move(map));
  panel.x.names = token_names(texts.first(std::min(texts.size(), static_cast<size_t>(end))));
  return panel;
}

plot::Figure heatmap(const TokensResult& result, std::span<const std::string> texts) {
  static constexpr std::array<Table, 4> kTables{
      {{"Keys: norm", "norm / layer mean", &LayerTokens::k_norm_relative, true},
       {"Values: norm", "norm / layer mean", &LayerTokens::v_norm_relative, true},
       {"legacy, keys: near-zero elements", "share of elements", &LayerTokens::legacy_k_sparsity, false},
       {"legacy, values: near-zero elements", "share of elements", &LayerTokens::legacy_v_sparsity, false}}};
  const auto tokens = static_cast<int64_t>(result.rows.size());
  const bool zoomed = tokens > 4 * kFirst;
  plot::Figure figure;
  figure.title = "Keys and values of every token, layer by layer";
  figure.columns = zoomed ? 2 : 1;
  if (zoomed) figure.column_weights = {0.28, 0.72};
  for (const Table& table : kTables) {
    if (zoomed) {
      figure.panels.push_back(layer_by_token(result, table, kFirst, texts));
      plot::Panel& first = figure.panels.back();
      first.title = fmt::format("First {} tokens", kFirst);
      auto& map = std::get<plot::Heatmap>(first.marks[0]);
      map.z_label.clear();
      map.decimals = -1;
    }
    figure.panels.push_back(layer_by_token(result, table, tokens, texts));
  }
  figure.height = 1300;
  figure.caption = fmt::format(
      "Colour scale of the norms: 1/{0} to {0} times the layer's mean; beyond, the end colours.", kNormRange);
  return figure;
}

}  // namespace

std::vector<NamedFigure> token_figures(const TokensResult& result, std::span<const std::string> texts) {
  return {{"tokens/token_position_importance", importance(result, texts)},
          {"tokens/token_sparsity_heatmap", heatmap(result, texts)}};
}

}  // namespace kvviz::figures
