// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <cmath>

#include "kvviz/figures/named_figure.hpp"
#include "kvviz/figures/similarity_parts.hpp"

namespace kvviz::figures {
namespace {

using analysis::Half;
using analysis::SimilarityResult;

constexpr size_t kNamed = 40;        // positions that can carry their texts
constexpr double kSinkShare = 0.25;  // of the query heads, from which a token is marked

bool is_sink(const SimilarityResult& result, size_t position) {
  return !result.sink_share.empty() && result.sink_share[position] >= kSinkShare;
}

TokenAxis axis_of(const SimilarityResult& result, std::span<const std::string> texts) {
  TokenAxis axis;
  const auto& at = result.positions;
  const bool each = at.size() < 2 || at.back() - at.front() + 1 == std::ssize(at);
  if (at.size() <= kNamed) {
    std::vector<std::string> shown;
    for (const int64_t position : at)
      shown.push_back(static_cast<size_t>(position) < texts.size() ? texts[position] : std::string());
    for (size_t i = 0; i < at.size(); ++i)
      axis.names.push_back(
          token_names(shown)[i].replace(0, fmt::format("{}", i).size(), fmt::format("{}", at[i])));
    return axis;
  }
  axis.first = static_cast<double>(at.front());
  axis.step = each ? 1 : static_cast<double>(at.back() - at.front()) / static_cast<double>(at.size() - 1);
  return axis;
}

plot::Axis labelled(const TokenAxis& tokens) {
  return {.label = tokens.names.empty() ? "token position" : "token", .whole = true, .names = tokens.names};
}

void place(const TokenAxis& tokens, plot::Heatmap& map) {
  map.x0 = map.y0 = tokens.first;
  map.dx = map.dy = tokens.step;
}

plot::Panel token_panel(const SimilarityResult& result, const TokenAxis& tokens,
                        const std::vector<double>& cosine) {
  plot::Panel panel;
  panel.x = panel.y = labelled(tokens);
  plot::Heatmap map = signed_matrix(cosine, std::ssize(result.positions), "cosine, less the mean token");
  place(tokens, map);
  panel.marks.emplace_back(std::move(map));
  plot::Lines sinks;
  const double last = tokens.first + tokens.step * static_cast<double>(result.positions.size() - 1);
  for (size_t i = 0; i < result.positions.size(); ++i) {
    if (!is_sink(result, i)) continue;
    const double at = tokens.first + tokens.step * static_cast<double>(i);
    for (const bool row : {true, false}) {
      plot::Series line{.colour = plot::colours::sink, .marker = plot::Marker::none, .width = 0.7};
      if (sinks.series.empty())
        line.label = fmt::format("attention sink of {:g} % of the query heads or more", 100 * kSinkShare);
      line.x = row ? std::vector<double>{tokens.first, last} : std::vector<double>{at, at};
      line.y = row ? std::vector<double>{at, at} : std::vector<double>{tokens.first, last};
      sinks.series.push_back(std::move(line));
    }
  }
  if (!sinks.series.empty()) panel.marks.emplace_back(std::move(sinks));
  return panel;
}

/// " 100 of 512 tokens, equally spaced."; empty where all are compared.
std::string chosen_tokens(const SimilarityResult& result) {
  if (std::ssize(result.positions) >= result.tokens) return "";
  return fmt::format(" {} of {} tokens, equally spaced.", result.positions.size(), result.tokens);
}

const char* sink_note(const SimilarityResult& result) {
  return result.sink_share.empty() ? " Sinks are not known without queries." : "";
}

}  // namespace

plot::Figure token_matrix_figure(const SimilarityResult& result, std::span<const std::string> texts) {
  const int64_t n = std::ssize(result.positions);
  std::vector<double> both(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      both[i * n + j] = (j >= i ? result.key : result.value).token_cosine[i * n + j];
  plot::Figure figure;
  figure.title = "How alike the tokens of the cache are";
  figure.panels = {token_panel(result, axis_of(result, texts), both)};
  figure.panels.front().title = "Keys above the diagonal, values below";
  figure.width = 1250;
  figure.height = 1150;
  figure.caption =
      fmt::format("Cosine of the vectors of all layers and heads, less their mean over the text.{}{}{}",
                  chosen_tokens(result), sink_note(result), rope_caption(result));
  return figure;
}

plot::Figure token_matrices_figure(const SimilarityResult& result, std::span<const std::string> texts) {
  plot::Figure figure;
  figure.title = "How alike the tokens of the cache are, keys and values apart";
  for (const Half half : {Half::key, Half::value}) {
    const auto& side = result.side(half);
    figure.panels.push_back(token_panel(result, axis_of(result, texts), side.token_cosine));
    figure.panels.back().title = grouped(half, side.tokens, "tokens");
  }
  figure.columns = 2;
  figure.width = 1900;
  figure.height = 1050;
  figure.caption =
      fmt::format("Cosine of the vectors of all layers and heads, less their mean over the text.{}{}{}",
                  chosen_tokens(result), sink_note(result), rope_caption(result));
  return figure;
}

plot::Figure token_channels_figure(const SimilarityResult& result, std::span<const std::string> texts) {
  const TokenAxis tokens = axis_of(result, texts);
  plot::Figure figure;
  figure.title = "Size of each channel at each token";
  for (const Half half : {Half::key, Half::value}) {
    const auto& side = result.side(half);
    plot::Panel panel;
    panel.title = half == Half::key ? "Keys" : "Values";
    panel.x = {.label = "channel", .whole = true};
    panel.y = labelled(tokens);
    plot::Heatmap map{.z = side.token_channels,
                      .rows = static_cast<int>(result.positions.size()),
                      .cols = static_cast<int>(side.dim),
                      .z_label = "mean |x| over layers and heads"};
    map.y0 = tokens.first;
    map.dy = tokens.step;
    panel.marks.emplace_back(std::move(map));
    figure.panels.push_back(std::move(panel));
  }
  figure.columns = 2;
  figure.width = 1800;
  figure.caption =
      "A channel index means another direction in every head: bright columns are outlier channels "
      "of many heads, bright rows tokens of large norm.";
  figure.caption += chosen_tokens(result);
  return figure;
}

}  // namespace kvviz::figures
