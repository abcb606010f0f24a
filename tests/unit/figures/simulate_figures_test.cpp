// SPDX-License-Identifier: MIT
#include "kvviz/figures/simulate_figures.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "kvviz/plot/prepare.hpp"
#include "kvviz/plot/script.hpp"
#include "unit/figures/checks.hpp"
#include "unit/figures/simulations.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

using namespace kvviz;
using namespace kvviz::analysis;
using figures::NamedFigure;

namespace {

const plot::Figure& find(const std::vector<NamedFigure>& all, const std::string& file) {
  const auto at = std::ranges::find(all, "simulate/" + file, &NamedFigure::file);
  REQUIRE_MESSAGE(at != all.end(), file);
  return at->figure;
}

bool drawn(const std::vector<NamedFigure>& all, const std::string& file) {
  return std::ranges::find(all, "simulate/" + file, &NamedFigure::file) != all.end();
}

template <class M>
const M& mark(const plot::Panel& panel) {
  for (const plot::Mark& each : panel.marks)
    if (const auto* found = std::get_if<M>(&each)) return *found;
  FAIL(panel.title << ": no such mark");
  throw;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const plot::Series* line_to(const plot::Panel& panel, const std::string& label) {
  const auto& series = mark<plot::Lines>(panel).series;
  const auto at = std::ranges::find(series, label, &plot::Series::end_label);
  return at == series.end() ? nullptr : &*at;
}

const PolicyOutcome& outcome(const SimulationStudy& study, const std::string& policy,
                             const std::string& budget) {
  const auto at = std::ranges::find_if(
      study.outcomes, [&](const PolicyOutcome& o) { return o.policy == policy && o.budget == budget; });
  REQUIRE(at != study.outcomes.end());
  return *at;
}

/// A study of few numbers, written down directly: a full cache of 1000 bytes and perplexity 20.
struct Point {
  const char* policy;
  const char* budget;
  double bytes, delta_nll, se;
  bool clairvoyant = false;
};

SimulationStudy study_of(const std::vector<Point>& points) {
  SimulationStudy study{.layers = 1, .query_heads = 1, .kv_heads = 1, .texts = 4, .tokens = 400};
  study.full_ppl = 20;
  for (const Point& point : points) {
    PolicyOutcome o;
    o.policy = point.policy, o.budget = point.budget, o.clairvoyant = point.clairvoyant;
    o.budget_tokens = std::stod(o.budget) < 1 ? 100 * std::stod(o.budget) : std::stod(o.budget);
    o.delta_nll = point.delta_nll, o.delta_nll_se = point.se;
    o.ppl = 20 * std::exp(point.delta_nll), o.delta_ppl = o.ppl - 20, o.delta_ppl_se = 20 * point.se;
    o.resident_bytes = point.bytes, o.full_bytes = 1000;
    o.evictions = o.policy == "full" ? 0 : 1;
    study.outcomes.push_back(o);
  }
  mark_frontier(study.outcomes);
  return study;
}

const plot::Panel& frontier_panel(const std::vector<NamedFigure>& all) {
  return find(all, "frontier").panels.at(0);
}

}  // namespace

TEST_CASE("[simulate figures] all are labelled and legible, from one policy to eighteen") {
  for (const synthetic::SimulationShape& shape : {synthetic::SimulationShape{},
                                                  {1, 1, 1, 1, {0.25}, 16},
                                                  {2, 4, 8, 2, {0.25, 0.5}, 64},
                                                  {18, 32, 32, 8, {0.05, 0.1, 0.2, 0.4, 0.8}, 2048},
                                                  {6, 80, 8, 8, {64, 128}, 1024}}) {
    CAPTURE(shape.policies);
    CAPTURE(shape.layers);
    for (const NamedFigure& named : figures::simulate_figures(synthetic::simulation(shape), "a model")) {
      synthetic::check_labelled(named);
      synthetic::check_texts(named);
    }
  }
  CHECK(figures::simulate_figures({}).empty());
}

TEST_CASE("[simulate figures] all draw") {
  synthetic::draw(figures::simulate_figures(synthetic::simulation({})));
  synthetic::draw(figures::simulate_figures(synthetic::simulation({1, 1, 1, 1, {0.25}, 16})));
  synthetic::draw(figures::needle_figures(synthetic::simulation({}), synthetic::needles(5, 5, 3)));
}

TEST_CASE("[simulate figures] frontier: the title names what is told apart, the caption the rest") {
  const auto all = figures::simulate_figures(study_of({{"full", "1.0", 1000, 0, 0},
                                                       {"window", "0.1", 100, 0.5, 0.01},
                                                       {"h2o", "0.1", 110, 0.49, 0.01},
                                                       {"h2o", "0.5", 550, 0.02, 0.002},
                                                       {"tova", "0.5", 550, 0.021, 0.002},
                                                       {"oracle", "0.1", 110, 0.001, 0.001, true}}));
  const plot::Figure& figure = find(all, "frontier");
  const plot::Panel& panel = frontier_panel(all);
  CHECK(
      panel.title ==
      "From 10 %, 100 B: window at 10 %; from 55 %, 550 B: h2o at 50 %; from 100 %, 1000 B: the full cache");
  CHECK(holds(figure.caption, "~ 11 %, 110 B: h2o at 10 % (+63.2 ± 1.63 %)"));
  CHECK(holds(figure.caption, "Not told apart from h2o at 50 % with no more memory: tova."));
  CHECK(holds(figure.caption, "* reads the future"));
  CHECK_FALSE(holds(figure.caption, "oracle at"));
  std::vector<std::string> notes;
  for (const plot::Mark& each : panel.marks)
    if (const auto* note = std::get_if<plot::Note>(&each)) notes.push_back(note->text);
  CHECK(notes == std::vector<std::string>{"window at 10 %: +64.9 %", "h2o at 50 %: +2.02 %"});
}

TEST_CASE("[simulate figures] frontier: points are memory and loss in percent, with standard errors") {
  const SimulationStudy study = study_of(
      {{"window", "0.1", 100, 0.5, 0.01}, {"h2o", "0.1", 110, 0.2, 0.01}, {"h2o", "0.5", 550, 0.02, 0.002}});
  const auto all = figures::simulate_figures(study);
  const plot::Panel& panel = frontier_panel(all);
  const plot::Series* h2o = line_to(panel, "h2o");
  REQUIRE(h2o != nullptr);
  CHECK(h2o->x[0] == doctest::Approx(11));
  CHECK(h2o->x[1] == doctest::Approx(55));
  CHECK(h2o->y[0] == doctest::Approx(100 * std::expm1(0.2)));
  CHECK(h2o->y[1] == doctest::Approx(100 * std::expm1(0.02)));
  CHECK(h2o->errors[0] == doctest::Approx(100 * std::exp(0.2) * 0.01));
  CHECK(h2o->errors_above[1] == doctest::Approx(100 * std::exp(0.02) * 0.002));
  CHECK(panel.x.scale == plot::Scale::log10);
  CHECK(panel.y.scale == plot::Scale::log10);
  CHECK(holds(panel.x.label, "1000 B"));
}

TEST_CASE("[simulate figures] frontier: a gain stands at the floor, a broken model at the ceiling") {
  const auto all = figures::simulate_figures(study_of(
      {{"window", "0.1", 100, 5, 0.1}, {"h2o", "0.1", 110, 0.01, 0.001}, {"h2o", "0.5", 550, -0.03, 0.01}}));
  const plot::Panel& panel = frontier_panel(all);
  REQUIRE(panel.y.floor);
  REQUIRE(panel.y.ceiling);
  CHECK(*panel.y.floor == doctest::Approx(1));
  CHECK(*panel.y.ceiling == doctest::Approx(1000));
  CHECK(line_to(panel, "window")->y[0] == *panel.y.ceiling);
  CHECK(line_to(panel, "h2o")->y[1] == *panel.y.floor);
  CHECK(holds(find(all, "frontier").caption, "(-2.96 ± 0.97 %)"));
  CHECK(*panel.y.min < *panel.y.floor);
  CHECK(*panel.y.max > *panel.y.ceiling);
}

TEST_CASE("[simulate figures] frontier: without standard errors nothing is called tested") {
  const auto all = figures::simulate_figures(
      study_of({{"h2o", "0.1", 110, 0.2, kNone}, {"h2o", "0.5", 550, 0.02, kNone}}));
  CHECK(holds(frontier_panel(all).note, "no difference is tested"));
  CHECK_FALSE(holds(frontier_panel(all).note, "Black rings"));
  CHECK(holds(find(all, "frontier").caption, "11 %, 110 B: h2o at 10 % (+22.1 %)"));
}

TEST_CASE("[simulate figures] policies that read the future or keep their memory are marked everywhere") {
  const auto all = figures::simulate_figures(synthetic::simulation({}));
  for (const char* file :
       {"frontier", "perplexity_by_budget", "policies_panel", "recall_by_layer", "retention"}) {
    CAPTURE(file);
    CHECK(holds(find(all, file).caption, "* reads the future"));
    CHECK(holds(find(all, file).caption, "† hides what it evicts"));
  }
  const auto& names = find(all, "policies_panel").panels[0].x.names;
  CHECK(std::ranges::count(names, "oracle *") == 1);
  CHECK(std::ranges::count(names, "h2o:mask †") == 1);
  CHECK(std::ranges::count(names, "full") == 0);
  CHECK(names.back().ends_with(" *"));
  const plot::Series* oracle = line_to(frontier_panel(all), "oracle *");
  REQUIRE(oracle != nullptr);
  CHECK(oracle->stroke == plot::Stroke::dashed);
}

TEST_CASE("[simulate figures] lines of policies on the frontier differ in colour") {
  const auto all = figures::simulate_figures(synthetic::simulation({}));
  std::vector<uint32_t> colours;
  for (const plot::Series& line : mark<plot::Lines>(frontier_panel(all)).series)
    if (line.strong) colours.push_back(line.colour->rgb);
  CHECK(colours.size() >= 2);
  std::ranges::sort(colours);
  CHECK(std::ranges::adjacent_find(colours) == colours.end());
}

TEST_CASE("[simulate figures] perplexity: a second panel where a broken policy hides the others") {
  const SimulationStudy close = study_of({{"h2o", "10", 100, 0.1, 0.01}, {"tova", "10", 100, 0.2, 0.01}});
  const plot::Figure one = find(figures::simulate_figures(close), "perplexity_by_budget");
  REQUIRE(one.panels.size() == 1);
  CHECK(line_to(one.panels[0], "tova")->y[0] == doctest::Approx(20 * std::exp(0.2)));
  CHECK(mark<plot::Reference>(one.panels[0]).at == 20);

  const SimulationStudy wide = study_of({{"h2o", "10", 100, 0.1, 0.01},
                                         {"tova", "10", 100, 0.2, 0.01},
                                         {"lru", "10", 100, 0.1, 0.01},
                                         {"window", "10", 100, 4, 0.1}});
  const plot::Figure two = find(figures::simulate_figures(wide), "perplexity_by_budget");
  REQUIRE(two.panels.size() == 2);
  CHECK(line_to(two.panels[0], "window")->y[0] == 200);  // ten times the full cache's
  CHECK(line_to(two.panels[0], "h2o") == nullptr);
  CHECK(line_to(two.panels[1], "window") == nullptr);
  CHECK(line_to(two.panels[1], "h2o")->x[0] == 10);
  CHECK(line_to(two.panels[1], "h2o")->errors[0] == doctest::Approx(0.2));
}

TEST_CASE("[simulate figures] panel: bars are the study's numbers, a group a budget") {
  const SimulationStudy study = synthetic::simulation({});
  const auto all = figures::simulate_figures(study);
  const plot::Figure& figure = find(all, "policies_panel");
  REQUIRE(figure.panels.size() == 6);
  REQUIRE(figure.legend.size() == 3);
  CHECK(figure.legend[1].label == "budget 25 %");
  const auto& names = figure.panels[3].x.names;
  const auto place = static_cast<size_t>(std::ranges::find(names, "snapkv") - names.begin());
  const auto& recall = mark<plot::Bars>(figure.panels[3]);
  CHECK(recall.groups[1].values[place] == outcome(study, "snapkv", "0.25").recall);
  CHECK(mark<plot::Bars>(figure.panels[1]).groups[2].values[place] == outcome(study, "snapkv", "0.5").kl);
}

TEST_CASE("[simulate figures] panel: what was not measured has none") {
  const auto all = figures::simulate_figures(study_of({{"h2o", "0.5", 500, 0.1, 0.01}}));
  const plot::Figure& figure = find(all, "policies_panel");
  REQUIRE(figure.panels.size() == 1);
  CHECK(figure.panels[0].title.starts_with("Increase of perplexity"));
  CHECK_FALSE(drawn(all, "recall_by_layer"));
  for (const NamedFigure& named : all) synthetic::check_texts(named);
}

TEST_CASE("[simulate figures] layers: means over heads, the bound last, output errors end at 1") {
  SimulationStudy study = study_of({{"h2o", "0.5", 500, 0.1, 0.01}, {"tova", "0.5", 500, 0.2, 0.01}});
  study.layers = 2, study.query_heads = 2;
  study.outcomes[0].heads = {
      {0, 0, 0.5, 0.9, 0.2}, {0, 1, 0.7, 0.8, 0.4}, {1, 0, 0.6, 0.7, 7}, {1, 1, kNone, kNone, kNone}};
  const auto all = figures::simulate_figures(study);
  const auto& recall = mark<plot::Heatmap>(find(all, "recall_by_layer").panels[0]);
  REQUIRE(recall.rows == 3);
  CHECK(recall.z[0] == doctest::Approx(0.6));
  CHECK(recall.z[1] == doctest::Approx(0.6));
  CHECK(std::isnan(recall.z[2]));  // the second policy has no heads
  CHECK(recall.z[4] == doctest::Approx(0.85));
  CHECK(recall.z[5] == doctest::Approx(0.7));
  CHECK(*recall.z_max == 1);
  const auto& error = mark<plot::Heatmap>(find(all, "output_error_by_layer").panels[0]);
  REQUIRE(error.rows == 2);
  CHECK(error.z[0] == doctest::Approx(0.3));
  CHECK(error.z[1] == doctest::Approx(7));
  CHECK(*error.z_min == 0);
  CHECK(*error.z_max == 1);
}

TEST_CASE("[simulate figures] unequal budgets: only of policies that mean them") {
  const auto all = figures::simulate_figures(synthetic::simulation({}));
  const plot::Figure& figure = find(all, "budget_by_layer");
  REQUIRE(figure.panels.size() == 6);  // pyramidkv and adakv at three budgets
  for (const plot::Panel& panel : figure.panels)
    CHECK((panel.title.starts_with("pyramidkv") || panel.title.starts_with("adakv")));
  const auto& map = mark<plot::Heatmap>(figure.panels[0]);
  CHECK(*map.z_min == -*map.z_max);
  CHECK_FALSE(drawn(figures::simulate_figures(synthetic::simulation({3})), "budget_by_layer"));
}

TEST_CASE("[simulate figures] retention: keys turn from held to evicted after their last step") {
  SimulationStudy study = study_of({{"h2o", "0.5", 500, 0.1, 0.01}});
  study.retention = {{"h2o", "0.5", 1, 2, 4, {3, 1, 3, 3}, {0}, {2}}};
  const plot::Figure figure = find(figures::simulate_figures(study), "retention");
  const auto& map = mark<plot::Heatmap>(figure.panels[0]);
  constexpr double held = 0, gone = 1, sink = 2, heavy = 3, unread = 4;
  CHECK(map.z == std::vector<double>{sink, unread, unread, unread,  //
                                     sink, held, unread, unread,    //
                                     sink, gone, heavy, unread,     //
                                     sink, gone, heavy, held});
  CHECK(map.categories[2].colour.rgb == plot::colours::sink.rgb);
  CHECK(map.categories[3].colour.rgb == plot::colours::heavy_hitter.rgb);
  CHECK(holds(figure.subtitle, "Layer 1, KV head 2"));
}

TEST_CASE("[simulate figures] token strip: shares of sets, the tokens' text below") {
  SimulationStudy study = study_of({{"h2o", "0.5", 500, 0.1, 0.01}, {"tova", "0.5", 500, 0.2, 0.01}});
  study.survival = {{"tova", "0.5", {1, 0.25, 0}}, {"h2o", "0.5", {0.5, 0.5, 1}}, {"full", "1.0", {1, 1, 1}}};
  study.first_text = {"one", " two", "\n"};
  const plot::Figure figure = find(figures::simulate_figures(study), "token_strip");
  REQUIRE(figure.panels.size() == 1);
  CHECK(figure.panels[0].y.names == std::vector<std::string>{"h2o", "tova"});
  const auto& map = mark<plot::Heatmap>(figure.panels[0]);
  CHECK(map.z == std::vector<double>{0.5, 0.5, 1, 1, 0.25, 0});
  REQUIRE(figure.panels[0].x.names.size() == 3);
  CHECK(holds(figure.panels[0].x.names[1], "two"));
}

TEST_CASE("[simulate figures] needle: legible, beside the full cache, which has no panel of its own") {
  for (const auto& [policies, depths, lengths] : {std::tuple{1, 1, 1}, {2, 5, 1}, {5, 11, 4}, {18, 5, 3}})
    for (const NamedFigure& named :
         figures::needle_figures(synthetic::simulation({}), synthetic::needles(policies, depths, lengths))) {
      synthetic::check_labelled(named);
      synthetic::check_texts(named);
    }
  CHECK(figures::needle_figures({}, {}).empty());
  const std::vector<NeedleCell> cells{
      {"full", "1.0", 0, 64, -1, -1, -5, 1, {{0, 0, 0, 1}, {1, 0, 0, 1}}},
      {"h2o", "0.25", 0, 64, -3, -1, -5, 0.5, {{0, 0, 0, 0.25}, {1, 0, 0, 0.75}}},
      {"h2o", "0.25", 1, 64, -0.5, -1, -5, 1, {{0, 0, 0, 1}}}};
  const SimulationStudy study = study_of({{"full", "1.0", 1000, 0, 0}, {"h2o", "0.25", 250, 0.1, 0.01}});
  const auto all = figures::needle_figures(study, cells);
  REQUIRE(all.size() == 3);
  const plot::Figure& share = find(all, "needle");
  REQUIRE(share.panels.size() == 1);
  CHECK(share.panels[0].title == "h2o");
  CHECK(share.panels[0].y.names == std::vector<std::string>{"0 %", "100 %"});
  const auto& map = mark<plot::Heatmap>(share.panels[0]);
  CHECK(map.z == std::vector<double>{0.5, 1});
  CHECK(*map.z_min == 0);
  CHECK(*map.z_max == 1);
  CHECK(mark<plot::Heatmap>(find(all, "needle_survival").panels[0]).z == std::vector<double>{0.5, 1});
  CHECK(mark<plot::Heatmap>(find(all, "needle_survival_by_layer").panels[0]).z ==
        std::vector<double>{0.625, 0.75});
}

TEST_CASE("[simulate figures] needle: every cell between its own ends, policies in order and marked") {
  const std::vector<NeedleCell> cells{{"oracle", "0.25", 0, 64, -1, -1, -5, 1},
                                      {"h2o:mask", "0.25", 0, 64, -3, -2, -4, 1},
                                      {"h2o:mask", "0.25", 1, 64, -3, -2.5, -3.5, 1},
                                      {"snapkv", "0.25", 0, 64, -9, -2, -4, 1},
                                      {"snapkv", "0.25", 1, 64, -3, -4, -2, 1}};
  const auto all = figures::needle_figures(synthetic::simulation({}), cells, "a model");
  const plot::Figure& figure = find(all, "needle");
  REQUIRE(figure.panels.size() == 3);
  CHECK(figure.panels[0].title == "snapkv");
  CHECK(figure.panels[1].title == "h2o:mask †");
  CHECK(figure.panels[2].title == "oracle *");
  CHECK(mark<plot::Heatmap>(figure.panels[1]).z == std::vector<double>{0.5, 0.5});
  CHECK(mark<plot::Heatmap>(figure.panels[0]).z[0] == 0);
  CHECK(std::isnan(mark<plot::Heatmap>(figure.panels[0]).z[1]));  // the full cache gains nothing by it
  CHECK(holds(figure.caption, "* reads the future"));
  CHECK(holds(figure.caption, "† hides what it evicts"));
}

TEST_CASE("[simulate figures] subtitles count the texts once") {
  const SimulationStudy study = study_of({{"h2o", "0.5", 500, 0.1, 0.01}});
  CHECK(find(figures::simulate_figures(study, "demo, 4 texts"), "frontier")
            .subtitle.starts_with("demo, 4 texts; 400 tokens"));
  CHECK(find(figures::simulate_figures(study), "frontier").subtitle.starts_with("4 texts, 400 tokens"));
}
