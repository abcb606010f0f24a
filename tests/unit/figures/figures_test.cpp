// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <tuple>

#include "kvviz/core/error.hpp"
#include "kvviz/figures/loss_scale.hpp"
#include "kvviz/plot/prepare.hpp"
#include "kvviz/plot/script.hpp"
#include "unit/figures/checks.hpp"
#include "unit/figures/synthetic.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

using namespace kvviz;
using figures::NamedFigure;
using synthetic::check_labelled;
using synthetic::check_texts;
using synthetic::draw;
using synthetic::Shape;

namespace {

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
                                       "generation/steps",
                                       "generation/layers",
                                       "generation/policies",
                                       "generation/bytes",
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

TEST_CASE("[figures] no two of many lines look alike") {
  std::set<std::tuple<uint32_t, plot::Marker, plot::Stroke>> looks;
  for (size_t i = 0; i < 35; ++i) {
    plot::Series series;
    figures::set_look(series, i);
    looks.insert({series.colour->rgb, series.marker, series.stroke});
    CHECK((series.stroke == plot::Stroke::dashed) == (i / 7 % 2 == 1));
  }
  CHECK(looks.size() == 35);
}

TEST_CASE("[figures] outlier channels stand among all the others") {
  analysis::ChannelsResult channels;
  channels.rows = {{.key = {.rms_ratio = {1, 4, 0.5}}}, {.head = 1, .key = {.rms_ratio = {2, 1, 1}}}};
  channels.outliers = {{.channel = 1, .ratio = 4}};
  channels.legacy.dimensions.resize(3);
  const auto all = figures::channel_figures(channels, {});
  const auto& lines = std::get<plot::Lines>(all[0].figure.panels[0].marks[0]).series;
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].colour == plot::colours::nothing);
  CHECK(lines[0].y == std::vector<double>{1, 0.5, 2, 1, 1});
  CHECK(lines[1].y == std::vector<double>{4});
}

TEST_CASE("[figures] magnitudes begin where one element in 10,000 lies below") {
  analysis::DistributionResult made;
  made.log_edges = {-6, -5, -4, -3};
  made.key = {{.counts = {5, 6, 99'989}, .elements = 100'000}};
  made.value = {{.counts = {0, 0, 100'000}, .elements = 100'000}};
  for (const plot::Panel& panel : figures::distribution_figures(made)[0].figure.panels)
    if (panel.x.scale == plot::Scale::log10) CHECK(panel.x.min == doctest::Approx(1e-4));
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

TEST_CASE("[figures] the heaviest tokens: with the rule of the ranking, and none where all are ranked") {
  const auto heavy = [](const plot::Panel& panel) {
    for (const plot::Mark& mark : panel.marks)
      if (const auto* lines = std::get_if<plot::Lines>(&mark))
        for (const plot::Series& series : lines->series)
          if (series.label == "heaviest tokens") return true;
    return false;
  };
  for (const int64_t tokens : {7, 100}) {
    const Shape shape{2, 2, tokens, 8};
    analysis::AttentionResult attention = synthetic::attention(shape);
    attention.top_keys.clear();
    for (int64_t key = 0; key < std::min<int64_t>(tokens - 1, 20); ++key)
      attention.top_keys.push_back({.key = key, .received = 0.1});
    analysis::TokensResult result = synthetic::tokens(shape);
    result.order.resize(static_cast<size_t>(tokens < 20 ? tokens - 1 : 75));  // the last are not ranked
    std::iota(result.order.begin(), result.order.end(), 0);
    attention.ranking = result.order;
    const plot::Figure mass = figures::attention_figures(attention, synthetic::texts(shape))[4].figure;
    const plot::Figure matter = figures::token_figures(result, synthetic::texts(shape))[0].figure;
    CHECK(heavy(mass.panels[0]) == (tokens > 10));
    CHECK(heavy(matter.panels[0]) == (tokens > 10));
    CHECK((mass.caption.find("--least-exposure") != std::string::npos) == (tokens > 10));
    CHECK((matter.caption.find("--least-exposure") != std::string::npos) == (tokens > 10));
  }
}

TEST_CASE("[figures] decimals tell the cells of a map from each other") {
  CHECK(figures::decimals_for({1.0, 1.04, 1.09}) == 3);
  CHECK(figures::decimals_for({3.2, 11.9}) == 1);
  CHECK(figures::decimals_for({0, 300}) == 0);
  CHECK(figures::decimals_for({0, 1, analysis::kNone}) == 2);
  CHECK(figures::decimals_for({5, 5}) == 2);
  CHECK(figures::decimals_for({0, 1e-7}) == 3);
}

TEST_CASE("[figures] whiskers of shares end at 0 and 1") {
  analysis::HeadsResult heads;
  heads.rows.resize(1);
  heads.legacy_consistency = {{.head = 0, .k_sparsity_mean = 0.1, .k_sparsity_std = 0.3}};
  heads.legacy_consistency[0].v_sparsity_mean = 0.9, heads.legacy_consistency[0].v_sparsity_std = 0.3;
  const auto all = figures::head_figures(heads, {});
  const auto& bars = std::get<plot::Bars>(all[1].figure.panels[1].marks[0]);
  CHECK(plot::error_bar(bars.groups[0], 0).below == doctest::Approx(0.1));
  CHECK(plot::error_bar(bars.groups[0], 0).above == doctest::Approx(0.3));
  CHECK(plot::error_bar(bars.groups[1], 0).below == doctest::Approx(0.3));
  CHECK(plot::error_bar(bars.groups[1], 0).above == doctest::Approx(0.1));
}
