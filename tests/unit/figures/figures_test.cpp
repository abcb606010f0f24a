// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <string>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/plot/layout.hpp"
#include "kvviz/plot/notes.hpp"
#include "kvviz/plot/render.hpp"
#include "kvviz/plot/text.hpp"
#include "unit/figures/synthetic.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

namespace fs = std::filesystem;
using namespace kvviz;
using figures::NamedFigure;
using synthetic::Shape;

namespace {

struct Rect {
  std::string what;
  double left = 0, bottom = 0, right = 0, top = 0;
};

bool overlap(const Rect& a, const Rect& b) {
  return a.left < b.right && b.left < a.right && a.bottom < b.top && b.bottom < a.top;
}

/// Where a line of text is drawn, without its white space above and below.
Rect rect_of(const plot::TextLine& line) {
  const double width = plot::text_width(line.text, line.size) * (line.bold ? plot::kBoldWidth : 1);
  const double along = line.align == plot::Align::left     ? 0
                       : line.align == plot::Align::centre ? width / 2
                                                           : width;
  const double half = 0.4 * line.size;
  if (line.upright) return {line.text, line.x - half, line.y - along, line.x + half, line.y - along + width};
  return {line.text, line.x - along, line.y - half, line.x - along + width, line.y + half};
}

void add_ticks(std::vector<Rect>& out, const plot::PanelLayout& p, double size) {
  const plot::Box& plot = p.plot;
  for (const plot::Tick& tick : p.x_ticks.ticks) {
    const double x = plot.x + (tick.at - p.range.x.low) / (p.range.x.high - p.range.x.low) * plot.width;
    const double width = plot::text_width(tick.label, size),
                 half = p.x_ticks.rotated ? 0.4 * size : width / 2;
    out.push_back(
        {tick.label, x - half, plot.y - 8 - (p.x_ticks.rotated ? width : size), x + half, plot.y - 8});
  }
  const auto upright = [&](const plot::TickRow& row, const plot::Range& range, bool left, bool downwards) {
    for (const plot::Tick& tick : row.ticks) {
      const double share = (tick.at - range.low) / (range.high - range.low);
      const double y = plot.y + (downwards ? 1 - share : share) * plot.height,
                   width = plot::text_width(tick.label, size);
      const double x = left ? plot.x - 8 - width : p.colour_bar->x + p.colour_bar->width + 8;
      out.push_back({tick.label, x, y - 0.4 * size, x + width, y + 0.4 * size});
    }
  };
  upright(p.y_ticks, p.range.y, true,
          !p.panel.marks.empty() && std::holds_alternative<plot::Heatmap>(p.panel.marks[0]));
  if (p.colour_bar) upright(p.z_ticks, p.z, false, false);
}

/// Every text of a figure lies inside it and none lies over another.
void check_texts(const NamedFigure& named) {
  const plot::Theme theme;
  const plot::FigureLayout layout = plot::lay_out(named.figure, theme);
  std::vector<Rect> all;
  for (const plot::TextLine& line : layout.texts) all.push_back(rect_of(line));
  for (const plot::PanelLayout& panel : layout.panels) {
    for (const plot::TextLine& line : panel.texts) all.push_back(rect_of(line));
    add_ticks(all, panel, theme.tick_size);
    for (const plot::TextLine& line : plot::place_notes(panel, theme)) all.push_back(rect_of(line));
    CHECK(panel.plot.width >= 100);
    CHECK(panel.plot.height >= 60);
  }
  std::string outside, overlapping;
  for (size_t i = 0; i < all.size(); ++i) {
    const Rect& a = all[i];
    if (!(a.left >= 0 && a.right <= layout.width && a.bottom >= 0 && a.top <= layout.height))
      outside += a.what + "; ";
    for (size_t k = 0; k < i; ++k)
      if (overlap(a, all[k])) overlapping += a.what + " with " + all[k].what + "; ";
  }
  INFO(named.file);
  CHECK(all.size() > 5);
  CHECK(outside.empty());
  CHECK(overlapping.empty());
}

/// Panels say what they show: a title, axes with labels (or names), colour bars with a label unless the
/// neighbour's.
void check_labelled(const NamedFigure& named) {
  INFO(named.file);
  CHECK(!named.figure.title.empty());
  CHECK(!named.figure.panels.empty());
  bool bar = false, cells = false;
  for (const plot::Panel& panel : named.figure.panels) {
    INFO(panel.title);
    CHECK(!panel.title.empty());
    CHECK(!panel.x.label.empty());
    CHECK((!panel.y.label.empty() || !panel.y.names.empty()));
    for (const plot::Mark& mark : panel.marks)
      if (const auto* map = std::get_if<plot::Heatmap>(&mark)) cells = true, bar |= !map->z_label.empty();
  }
  CHECK(bar == cells);
}

const std::set<std::string> kCatalogue{"layers/layer_statistics",
                                       "layers/layer_pruning_potential",
                                       "heads/head_sparsity",
                                       "heads/head_pruning_potential",
                                       "heads/pruning_heatmap_by_layer_head",
                                       "weight_magnitude_distribution",
                                       "embeddings/embedding_consistency",
                                       "embeddings/sparse_dense_embedding_patterns",
                                       "embeddings/embedding_importance_heatmap",
                                       "tokens/token_position_importance",
                                       "tokens/token_sparsity_heatmap",
                                       "tokens/generation_stages_comparison",
                                       "attention/sink_share",
                                       "attention/entropy",
                                       "attention/distance",
                                       "attention/head_classes",
                                       "attention/mass_per_key",
                                       "attention/top_mass",
                                       "sinks/sink_heatmap_enhanced",
                                       "sinks/avg_sink_score_by_layer_enhanced",
                                       "sinks/layer_sink_frequency",
                                       "sinks/sink_mask",
                                       "sinks/head_consistency",
                                       "sinks/seq_length_vs_sink_percentage",
                                       "sinks/threshold_sweep",
                                       "sinks/3d_sink_patterns",
                                       "sinks/combined_analysis",
                                       "sinks/sink_tokens",
                                       "sinks/sink_norms",
                                       "sinks/sink_comparison",
                                       "sinks/reuse_evaluation",
                                       "sinks/all_heads_attention_patterns",
                                       "sinks/all_heads_attention_patterns_2",
                                       "attention/pooled_maps"};

void draw(const std::vector<NamedFigure>& all) {
  const fs::path folder = fs::temp_directory_path() / ("kvviz-figures-" + std::to_string(getpid()));
  std::vector<plot::RenderJob> jobs;
  for (const NamedFigure& named : all) jobs.push_back({folder / named.file, named.figure});
  const auto files = plot::render(jobs, {}, {});
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string bytes = read_file(files[i]);
    const auto number = [&](size_t at) {
      int value = 0;
      for (size_t k = at; k < at + 4; ++k) value = value << 8 | static_cast<unsigned char>(bytes[k]);
      return value;
    };
    INFO(files[i].string());
    REQUIRE(bytes.size() > 1000);
    CHECK(bytes.substr(1, 3) == "PNG");
    CHECK(number(16) == all[i].figure.width);
    CHECK(number(20) == all[i].figure.height);
  }
  fs::remove_all(folder);
}

}  // namespace

TEST_CASE("[figures] the catalogue is complete and every figure is labelled") {
  std::set<std::string> files;
  for (const NamedFigure& named : synthetic::catalogue({})) {
    CHECK(files.insert(named.file).second);
    check_labelled(named);
  }
  CHECK(files == kCatalogue);
}

TEST_CASE("[figures] no text overlaps another at any size") {
  for (const int layers : {1, 28, 80, 126})
    for (const Shape& shape : {Shape{layers, 1, 1, 4}, Shape{layers, 8, 20, 64}, Shape{layers, 64, 512, 128},
                               Shape{layers, 128, 20, 256}}) {
      CAPTURE(layers);
      CAPTURE(shape.heads);
      CAPTURE(shape.tokens);
      for (NamedFigure& named : synthetic::catalogue(shape)) {
        named.figure.subtitle =
            "demo model (28 layers, 8 KV heads, 128 channels), 512 tokens of a sample text";
        check_texts(named);
      }
    }
}

TEST_CASE("[figures] 32,768 tokens") {
  for (const NamedFigure& named : synthetic::catalogue({28, 8, 32768, 128})) {
    check_texts(named);
    CHECK(plot::gnuplot_script(named.figure, {}, {}).size() < 4u << 20);
  }
}

TEST_CASE("[figures] all draw, from the smallest cache to the largest") {
  draw(synthetic::catalogue({1, 1, 1, 4}));
  draw(synthetic::catalogue({28, 8, 512, 128}));
  draw(synthetic::catalogue({126, 128, 20, 128}));
  const std::vector<std::string> texts = synthetic::texts({2, 2, 32768, 16});
  draw(figures::token_figures(synthetic::tokens({2, 2, 32768, 16}), texts));
}

TEST_CASE("[figures] layers of different shapes leave grey cells, not wrong ones") {
  analysis::HeadsResult heads;
  heads.rows.resize(3);
  heads.rows[1].layer = heads.rows[2].layer = 1;
  heads.rows[2].head = 1;
  heads.rows[2].key.hoyer = 0.5;
  const auto all = figures::head_figures(heads, {});
  const auto& map = std::get<plot::Heatmap>(all[0].figure.panels[0].marks[0]);
  REQUIRE(map.rows == 2);
  REQUIRE(map.cols == 2);
  CHECK(map.z[0] == 0);
  CHECK(std::isnan(map.z[1]));
  CHECK(map.z[3] == 0.5);

  Shape shape{2, 1, 6, 4};
  analysis::TokensResult tokens = synthetic::tokens(shape);
  analysis::LayerTokens& windowed = tokens.layers[1];
  windowed.first_token = 4;
  for (auto* values : {&windowed.k_norm_relative, &windowed.v_norm_relative, &windowed.legacy_k_sparsity,
                       &windowed.legacy_v_sparsity})
    values->resize(2);
  const auto tokens_map =
      std::get<plot::Heatmap>(figures::token_figures(tokens, {})[1].figure.panels[0].marks[0]);
  REQUIRE(tokens_map.cols == 6);
  CHECK(std::isnan(tokens_map.z[6 + 3]));
  CHECK(std::isfinite(tokens_map.z[6 + 4]));
}

TEST_CASE("[figures] the numbers shown are those of the result") {
  const Shape shape{3, 2, 100, 8};
  const analysis::LayersResult layers = synthetic::layers(shape);
  const auto lines = std::get<plot::Lines>(figures::layer_figures(layers, {})[0].figure.panels[0].marks[0]);
  CHECK(lines.series[0].label == "keys");
  REQUIRE(lines.series[0].y.size() == 3);
  for (size_t l = 0; l < 3; ++l) CHECK(lines.series[0].y[l] == layers.rows[l].key.hoyer);
  CHECK(lines.series[1].y[2] == layers.rows[2].value.hoyer);

  const analysis::AttentionResult attention = synthetic::attention(shape);
  const auto figures = figures::attention_figures(attention, synthetic::texts(shape));
  const auto& sinks = std::get<plot::Heatmap>(figures[0].figure.panels[0].marks[0]);
  for (size_t i = 0; i < attention.heads.size(); ++i) CHECK(sinks.z[i] == attention.heads[i].alpha_1);
  CHECK(sinks.threshold == attention.sink_eps);
}

TEST_CASE("[figures] legacy numbers are called legacy") {
  for (const NamedFigure& named : synthetic::catalogue({}))
    for (const plot::Panel& panel : named.figure.panels) {
      const bool near_zero = panel.title.find("largest |x|") != std::string::npos ||
                             panel.title.find("near-zero") != std::string::npos;
      if (near_zero) CHECK(panel.title.starts_with("legacy"));
    }
}

TEST_CASE("[figures] a cache without attention says so") {
  analysis::TokensResult tokens = synthetic::tokens({2, 2, 30, 8});
  for (analysis::TokenRow& row : tokens.rows) row.received = row.value_weighted = analysis::kNone;
  tokens.order.clear();
  const plot::Figure figure = figures::token_figures(tokens, {})[0].figure;
  CHECK(figure.panels.size() == 2);
  CHECK(figure.caption.find("not measured") != std::string::npos);
}

TEST_CASE("[figures] chosen heads are distinct, sorted, and hold the extremes") {
  const analysis::AttentionResult result = synthetic::attention({28, 8, 512, 128});
  const std::vector<size_t> chosen = figures::typical_heads(result, 12);
  REQUIRE(chosen.size() == 12);
  CHECK(std::is_sorted(chosen.begin(), chosen.end()));
  CHECK(std::set<size_t>(chosen.begin(), chosen.end()).size() == 12);
  const auto strongest =
      std::max_element(result.heads.begin(), result.heads.end(),
                       [](const auto& a, const auto& b) { return a.sink_mass < b.sink_mass; });
  CHECK(std::count(chosen.begin(), chosen.end(), static_cast<size_t>(strongest - result.heads.begin())) == 1);
  CHECK(figures::typical_heads(synthetic::attention({1, 1, 8, 4}), 12).size() == 1);
  CHECK(figures::typical_heads({}, 12).empty());
}

TEST_CASE("[figures] attention maps: the future is grey, the visible triangle is not") {
  const auto maps = synthetic::maps({4, 4, 512, 8}, 1);
  const auto map = std::get<plot::Heatmap>(figures::attention_map_figure(maps).figure.panels[0].marks[0]);
  REQUIRE(map.rows == 64);
  for (int q = 0; q < 64; ++q)
    for (int k = 0; k < 64; ++k) CHECK(std::isnan(map.z[static_cast<size_t>(q * 64 + k)]) == (k > q));
  figures::AttentionMap odd;
  odd.mean.resize(3);
  CHECK_THROWS_AS(figures::attention_map_figure(std::vector{odd}), DataError);
}
