// SPDX-License-Identifier: MIT
#include "kvviz/figures/sink_figures.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "kvviz/plot/prepare.hpp"
#include "unit/figures/checks.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

using namespace kvviz;
using namespace kvviz::analysis;
using figures::NamedFigure;

namespace {

constexpr auto share0 = static_cast<size_t>(SinkMetric::share0);
constexpr auto excess = static_cast<size_t>(SinkMetric::excess);

/// What the figures are drawn from, written down directly.
struct Case {
  SinkStudy study;
  SinkSummary summary;
  AcrossLayers across;
  std::vector<LayerSinks> layers;

  figures::SinkFigureInput input() const {
    return {.study = &study, .summary = &summary, .across = &across, .layers = layers};
  }
};

/// Scores between 0.05 and 0.95 over `texts` texts; every second head is a sink in half of them.
Case make(int layers, int heads, int64_t texts) {
  Case made;
  made.summary.rule = {SinkMetric::share0, 0.8};
  const double sd = texts > 1 ? 0.04 : kNone;
  for (int l = 0; l < layers; ++l) {
    for (int h = 0; h < heads; ++h) {
      made.study.heads.push_back({l, h, h / 2});
      StudyHead head{.name = made.study.heads.back()};
      head.score[share0] = {0.05 + 0.9 * std::abs(std::sin(3 * l + 7 * h)), sd, texts};
      head.sink_share = h % 2 == 0 ? 0 : 0.5;
      made.summary.heads.push_back(head);
    }
    made.summary.layers.push_back({l, {0.5, sd, texts}, 0.5, 0.45, 0.2});
    made.layers.push_back({.layer = l,
                           .sink_keys = {40, 3, 2, 1},
                           .mass = {0.5, 0.1, 0.1, 0.3},
                           .kind_tokens = {1, 20, 60, 400},
                           .k_norm_first = 8,
                           .k_norm_rest = 10,
                           .v_norm_first = 0.5,
                           .v_norm_rest = 3});
  }
  for (int64_t t = 0; t < texts; ++t) {
    made.study.prompts.push_back({.name = "a text", .tokens = 64 + t});
    made.study.prompts.back().score[share0].assign(made.study.heads.size(), 0.5);
  }
  made.summary.score = {0.5, sd, texts};
  made.summary.correlation = texts > 1 ? 0.9 : kNone;
  for (const int64_t n : {4, 16, 64})
    made.summary.by_length.push_back({n, {0.5, sd, texts}, {0.4, sd, texts}, uniform_alpha(n)});
  for (int i = 1; i < 20; ++i) made.summary.sweep.push_back({i / 20.0, 1 - i / 20.0, 0.5, 0.3});
  made.across = {.first_sinks = 3, .p_later = 0.5, .low = 0.25, .high = 0.75, .base = 0.4, .lift = 1.25};
  if (layers == 1) made.across = {.reason = "the model has one layer"};
  return made;
}

const plot::Figure& find(const std::vector<NamedFigure>& all, const std::string& file) {
  const auto at = std::ranges::find(all, "sinks/" + file, &NamedFigure::file);
  REQUIRE_MESSAGE(at != all.end(), file);
  return at->figure;
}

template <class M>
const M& mark(const plot::Panel& panel, size_t skip = 0) {
  for (const plot::Mark& each : panel.marks)
    if (const auto* found = std::get_if<M>(&each); found != nullptr && skip-- == 0) return *found;
  FAIL(panel.title << ": no such mark");
  throw;
}

template <class M>
bool has(const plot::Panel& panel) {
  return std::ranges::any_of(panel.marks, [](const auto& each) { return std::holds_alternative<M>(each); });
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("[sink figures] all are labelled, legible and drawn, from one head of one text to 32 x 32") {
  for (const int64_t texts : {1, 8})
    for (const auto& [layers, heads] : {std::pair{1, 1}, {1, 8}, {4, 8}, {32, 32}, {80, 64}}) {
      CAPTURE(layers);
      CAPTURE(heads);
      CAPTURE(texts);
      const auto all = figures::sink_figures(make(layers, heads, texts).input());
      CHECK(all.size() == (texts > 1 ? 11 : 10));
      for (const NamedFigure& named : all) {
        synthetic::check_labelled(named);
        synthetic::check_texts(named);
      }
      if (layers <= 32) synthetic::draw(all);
    }
}

TEST_CASE("[sink figures] the score map: every head at its place, the threshold as the rule has it") {
  Case made = make(2, 2, 4);
  made.summary.heads[3].score[share0] = {};
  auto all = figures::sink_figures(made.input());
  const auto& map = mark<plot::Heatmap>(find(all, "sink_heatmap_enhanced").panels[0]);
  REQUIRE(map.z.size() == 4);
  for (size_t i = 0; i < 3; ++i) CHECK(map.z[i] == made.summary.heads[i].score[share0].mean);
  CHECK(std::isnan(map.z[3]));
  CHECK(map.threshold == 0.8);
  CHECK(map.threshold_inclusive);
  CHECK(map.z_min == 0);
  CHECK(map.z_max == 1);
  const auto& mask = mark<plot::Heatmap>(find(all, "sink_mask").panels[0]);
  CHECK(mask.z[1] == 0.5);
  CHECK(std::isnan(mask.z[3]));

  made.summary.rule = {SinkMetric::excess, 0.3};
  for (StudyHead& head : made.summary.heads) head.score[excess] = {-0.25, 0.1, 4};
  all = figures::sink_figures(made.input());
  const auto& below = mark<plot::Heatmap>(find(all, "sink_heatmap_enhanced").panels[0]);
  CHECK(!below.threshold_inclusive);
  CHECK(below.z_min == -0.25);  // a colour bar that began at 0 would hide it
}

TEST_CASE("[sink figures] the surface spans the scores and its threshold") {
  Case made = make(2, 2, 4);
  const auto range = [&] {
    const auto all = figures::sink_figures(made.input());
    const auto& map = mark<plot::Heatmap>(find(all, "3d_sink_patterns").panels[0]);
    CHECK(map.surface);
    return plot::z_range(map);
  };
  for (StudyHead& head : made.summary.heads) head.score[share0].mean = 0.2;
  CHECK(range().low == 0);
  CHECK(range().high > 0.8);
  made.summary.heads[2].score[share0].mean = 0.97;
  CHECK(range().high == 0.97);
}

TEST_CASE("[sink figures] means by layer carry the spread over texts, and none where there is one text") {
  Case made = make(2, 2, 4);
  made.summary.layers[1].score = {0.75, 0.125, 4};
  const auto bars = [&] {
    return mark<plot::Bars>(
        find(figures::sink_figures(made.input()), "avg_sink_score_by_layer_enhanced").panels[0]);
  };
  REQUIRE(bars().groups.size() == 1);
  CHECK(bars().groups[0].values == std::vector{0.5, 0.75});
  CHECK(bars().groups[0].errors == std::vector{0.04, 0.125});
  made = make(2, 2, 1);
  CHECK(bars().groups[0].errors.empty());
  CHECK(!holds(bars().groups[0].label, "deviation"));

  const auto many = figures::sink_figures(make(80, 2, 4).input());
  const plot::Panel& lines = find(many, "avg_sink_score_by_layer_enhanced").panels[0];
  CHECK(!has<plot::Bars>(lines));
  CHECK(mark<plot::Band>(lines).low[3] == doctest::Approx(0.46));
  CHECK(mark<plot::Band>(lines).high[3] == doctest::Approx(0.54));
}

TEST_CASE("[sink figures] frequency: both orders of thresholding, and what the first layer foretells") {
  const Case made = make(2, 2, 4);
  const auto all = figures::sink_figures(made.input());
  const plot::Panel& panel = find(all, "layer_sink_frequency").panels[0];
  const auto& groups = mark<plot::Bars>(panel).groups;
  REQUIRE(groups.size() == 3);
  CHECK(groups[0].values == std::vector{0.5, 0.5});
  CHECK(holds(groups[0].label, "threshold, then average"));
  CHECK(groups[1].values == std::vector{0.45, 0.45});
  CHECK(holds(groups[1].label, "average, then threshold"));
  CHECK(groups[2].values == std::vector{0.2, 0.2});
  CHECK(holds(panel.note, "0.50 (95 %: 0.25 to 0.75)"));
  CHECK(holds(panel.note, "base rate, 0.40"));
  const auto one_layer = figures::sink_figures(make(1, 2, 4).input());
  CHECK(holds(find(one_layer, "layer_sink_frequency").panels[0].note, "the model has one layer"));
}

TEST_CASE("[sink figures] stability: a bin for each number of texts; heads without a score in none") {
  Case made = make(1, 6, 2);
  const double shares[] = {0, 0, 0.5, 1, 1, 0};
  for (size_t i = 0; i < 6; ++i) made.summary.heads[i].sink_share = shares[i];
  made.summary.heads[5].score[share0] = {};
  made.summary.heads[0].score[share0].sd = 0.125;
  const auto all = figures::sink_figures(made.input());
  const plot::Figure& figure = find(all, "head_consistency");
  REQUIRE(figure.panels.size() == 2);
  CHECK(mark<plot::Heatmap>(figure.panels[0]).z[0] == 0.125);
  const auto& histogram = mark<plot::Histogram>(figure.panels[1]);
  CHECK(histogram.edges == std::vector{-0.5, 0.5, 1.5, 2.5});
  CHECK(histogram.groups[0].counts == std::vector<double>{2, 1, 2});

  made.study.prompts.push_back(made.study.prompts.front());  // a third text, without the score
  const auto with_short = figures::sink_figures(made.input());
  const plot::Panel& panel = find(with_short, "head_consistency").panels[1];
  CHECK(mark<plot::Histogram>(panel).edges.size() == 4);
  CHECK(mark<plot::Histogram>(panel).groups[0].counts == std::vector<double>{2, 1, 2});
  CHECK(panel.x.label == "texts, of 2 that have the score");
}

TEST_CASE("[sink figures] one text has no figure of texts, and no mean over them") {
  const auto all = figures::sink_figures(make(2, 2, 1).input());
  CHECK(std::ranges::count(all, "sinks/head_consistency", &NamedFigure::file) == 0);
  CHECK_FALSE(holds(find(all, "sink_heatmap_enhanced").panels[0].title, "Mean over"));
}

TEST_CASE("[sink figures] keys that stand out: means over the heads of a layer, where they were counted") {
  Case made = make(2, 2, 4);
  const auto without = figures::sink_figures(made.input());
  CHECK(std::ranges::count(without, "sinks/sink_keys", &NamedFigure::file) == 0);
  for (size_t h = 0; h < 4; ++h)
    for (size_t c = 0; c < 3; ++c)
      made.summary.heads[h].counts[c] = {static_cast<double>(h + 10 * c), kNone, 4};
  const auto all = figures::sink_figures(made.input());
  const plot::Figure& figure = find(all, "sink_keys");
  const auto& groups = mark<plot::Bars>(figure.panels[0]).groups;
  REQUIRE(groups.size() == 3);
  CHECK(groups[0].values == std::vector{0.5, 2.5});
  CHECK(groups[2].values == std::vector{20.5, 22.5});
  synthetic::check_labelled({"sinks/sink_keys", figure});
  synthetic::check_texts({"sinks/sink_keys", figure});
}

TEST_CASE("[sink figures] norms: sink keys have a line where there are sink keys") {
  Case made = make(2, 2, 4);
  const auto lines = [&](size_t panel) {
    return mark<plot::Lines>(find(figures::sink_figures(made.input()), "sink_norms").panels[panel]).series;
  };
  CHECK(lines(0).size() == 2);
  made.layers[1].k_norm_sinks = 6, made.layers[1].v_norm_sinks = 2;
  REQUIRE(lines(1).size() == 3);
  CHECK(lines(0)[1].y == std::vector{6.0});
  CHECK(lines(1)[1].x == std::vector{1.0});
  CHECK(lines(1)[1].y == std::vector{2.0});
  CHECK(lines(1)[2].y == std::vector{3.0, 3.0});
}

TEST_CASE("[sink figures] length: rate with its standard error, beside uniform attention") {
  Case made = make(2, 2, 4);
  made.summary.rule = {SinkMetric::alpha, 0.3};
  made.summary.by_length[0].rate = {0.99, 0.04, 4};
  auto all = figures::sink_figures(made.input());
  const plot::Figure& figure = find(all, "seq_length_vs_sink_percentage");
  const plot::Panel& rates = figure.panels[0];
  CHECK(mark<plot::Band>(rates).low[0] == doctest::Approx(0.97));
  CHECK(mark<plot::Band>(rates).high[0] == 1);  // a rate
  CHECK(mark<plot::Lines>(rates).series[0].y[1] == 0.5);
  CHECK(mark<plot::Reference>(rates).at == 9);  // H_9 / 9 = 0.314, H_10 / 10 = 0.293
  const auto& alpha = mark<plot::Lines>(figure.panels[1]);
  REQUIRE(alpha.series.size() == 2);
  CHECK(alpha.series[1].y[2] == doctest::Approx(0.0741233));

  for (LengthPoint& point : made.summary.by_length) point.uniform = kNone;  // k > 1
  all = figures::sink_figures(made.input());
  const plot::Figure& other = find(all, "seq_length_vs_sink_percentage");
  CHECK(!has<plot::Reference>(other.panels[0]));
  CHECK(mark<plot::Lines>(other.panels[1]).series.size() == 1);

  made.summary.by_length.clear();
  made.summary.rule = {SinkMetric::share0, 0.5};
  made.study.prompts[0].score[share0] = {0.5, 0.25, kNone, 0.75};
  all = figures::sink_figures(made.input());
  const auto& points = mark<plot::Lines>(find(all, "seq_length_vs_sink_percentage").panels[0]);
  CHECK(points.series[0].stroke == plot::Stroke::points);
  CHECK(points.series[0].x[1] == 65);
  CHECK(points.series[0].y[0] == doctest::Approx(2.0 / 3));  // 0.5 counts, no score does not

  for (PromptSinks& prompt : made.study.prompts) prompt.tokens = 64;
  for (const NamedFigure& named : figures::sink_figures(made.input()))
    CHECK(named.file != "sinks/seq_length_vs_sink_percentage");  // one length is no curve
}

TEST_CASE("[sink figures] synthetic ones say so in title and subtitle; measured ones do not") {
  const Case made = make(4, 8, 8);
  figures::SinkFigureInput input = made.input();
  input.subtitle = "llama-3.1-8b";
  for (const NamedFigure& named : figures::sink_figures(input)) {
    CHECK(!holds(named.figure.title, "ynthetic"));
    CHECK(named.figure.subtitle == "llama-3.1-8b");
  }
  input.synthetic = true;
  for (const NamedFigure& named : figures::sink_figures(input)) {
    CHECK(named.figure.title.starts_with("Synthetic: "));
    CHECK(named.figure.subtitle == "SYNTHETIC (random numbers, no model): llama-3.1-8b");
  }
  figures::SinkComparisonRun random{.label = "sinks.h5", .metric = "alpha", .synthetic = true};
  const plot::Figure figure =
      figures::sink_comparison_figure({.label = "demo", .metric = "alpha"}, random).figure;
  CHECK(figure.panels[0].title == "Sink rate by alpha_k");
  CHECK(figure.title.starts_with("Synthetic: "));
  CHECK(figure.subtitle.starts_with("SYNTHETIC (random numbers, no model): b. a: demo"));
  const auto& groups = mark<plot::Bars>(figure.panels[0]).groups;
  CHECK(!holds(groups[0].label, "synthetic"));
  CHECK(holds(groups[1].label, "sinks.h5 (synthetic)"));
}

TEST_CASE("[sink figures] comparison: labels from the data, intervals of unequal halves") {
  const figures::SinkComparisonRun a{"one", 10, 12, 0.9, 0.35, 0.02, 0.28, 0.2, 0.4, 0.3};
  const figures::SinkComparisonRun b{"two", 512, 512, 0.25, 0.5, kNone, kNone, kNone, kNone, 0.125};
  const NamedFigure named = figures::sink_comparison_figure(a, b);
  synthetic::check_labelled(named);
  synthetic::check_texts(named);
  const auto& rates = mark<plot::Bars>(named.figure.panels[0]).groups;
  CHECK(named.figure.subtitle ==
        "a: one, 10 to 12 tokens, threshold 0.9; b: two, 512 tokens, threshold 0.25");
  CHECK(rates[0].label == "a: one");
  CHECK(rates[1].label == "b: two");
  std::vector<std::string> numbers;
  for (const plot::Panel& panel : named.figure.panels)
    for (const plot::Mark& drawn : panel.marks)
      if (const auto* note = std::get_if<plot::Note>(&drawn)) numbers.push_back(note->text);
  CHECK(numbers == std::vector<std::string>{"0.35", "0.5", "0.28", "0.3", "0.125"});
  CHECK(rates[0].values[0] == 0.35);
  CHECK(plot::error_bar(rates[0], 0).above == 0.02);
  CHECK(plot::error_bar(rates[1], 0).above == 0);
  const auto& later = mark<plot::Bars>(named.figure.panels[1]).groups;
  CHECK(later[0].label == "a: one");
  CHECK(later[0].values == std::vector{0.28, 0.3});
  CHECK(plot::error_bar(later[0], 0).below == doctest::Approx(0.08));
  CHECK(plot::error_bar(later[0], 0).above == doctest::Approx(0.12));
  CHECK(plot::error_bar(later[0], 1).above == 0);
  CHECK(std::isnan(later[1].values[0]));
  CHECK(later[1].values[1] == 0.125);
  synthetic::draw({named});
}

TEST_CASE("[sink figures] reuse: numbers of every substitute; what was not measured is missing") {
  const figures::ReuseVariantRow rows[] = {{"first_layer", 67, 4, 0.9, 0.3, 3, 2, 37.93},
                                           {"first_key", -0.5, kNone, 0.4, 1, 1, 2},
                                           {"zero", 2, 1, 0.4, 0.6, 1.6, 0}};
  const NamedFigure named = figures::reuse_figure(rows);
  synthetic::check_labelled(named);
  synthetic::check_texts(named);
  REQUIRE(named.figure.panels.size() == 4);
  const auto values = [&](size_t panel) { return mark<plot::Bars>(named.figure.panels[panel]).groups[0]; };
  CHECK(values(0).values == std::vector<double>{67, -0.5, 2});
  CHECK(plot::error_bar(values(0), 0).below == 4);
  CHECK(plot::error_bar(values(0), 1).below == 0);
  CHECK(plot::error_bar(values(0), 2).below == 1);  // one unknown error hides no other
  CHECK(values(1).values == std::vector{0.9, 0.4, 0.4});
  CHECK(values(2).values == std::vector{0.3, 1.0, 0.6});
  CHECK(values(3).values[0] == 1.5);
  CHECK(values(3).values[1] == 0.5);
  CHECK(!std::isfinite(values(3).values[2]));
  CHECK(mark<plot::Note>(named.figure.panels[0]).text == "67 ± 4");
  CHECK(mark<plot::Note>(named.figure.panels[0]).y > 71);  // above the whisker
  CHECK(named.figure.panels[0].note == "With full attention: 37.93.");
  CHECK(mark<plot::Note>(named.figure.panels[3], 1).text == "0.5");
  synthetic::draw({named});
}
