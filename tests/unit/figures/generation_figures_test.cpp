// SPDX-License-Identifier: MIT
#include "kvviz/figures/generation_figures.hpp"

#include <algorithm>
#include <cmath>

#include "unit/figures/checks.hpp"
#include "unit/figures/synthetic.hpp"

#include <doctest/doctest.h>  // after torch, which has a CHECK of its own

using namespace kvviz;
using analysis::GenerationStudy;

namespace {

plot::Figure figure_named(const GenerationStudy& study, const std::string& file) {
  const auto all = figures::generation_figures(study);
  const auto found = std::ranges::find(all, file, &figures::NamedFigure::file);
  REQUIRE(found != all.end());
  return found->figure;
}

std::vector<plot::Series> lines_of(const plot::Panel& panel) {
  return std::get<plot::Lines>(panel.marks.front()).series;
}

}  // namespace

TEST_CASE("[generation_figures] stages: the whole cache and the generated tokens, where there are any") {
  const GenerationStudy study = synthetic::generation({2, 2, 16, 4});
  const plot::Figure figure = figure_named(study, "tokens/generation_stages_comparison");
  REQUIRE(figure.panels.size() == 6);
  const auto hoyer = lines_of(figure.panels[0]), gini = lines_of(figure.panels[1]);
  REQUIRE(hoyer.size() == 5);
  CHECK(hoyer[0].y == std::vector<double>(4, 0.3));
  CHECK(hoyer[1].x == std::vector<double>{1, 2, 3});
  CHECK(hoyer[1].y == std::vector<double>(3, 0.32));
  CHECK(gini[3].y == std::vector<double>(3, 0.43));
  CHECK(lines_of(figure.panels[5])[2].y == std::vector<double>(3, 0.2));
}

TEST_CASE("[generation_figures] the Gaussian reference is that of as many elements") {
  GenerationStudy study = synthetic::generation({2, 2, 16, 4});
  study.cache.shape.layers.front().head_dim = 16;
  study.cache.stages[1].generated = 3, study.cache.stages[2].generated = 7;
  const plot::Figure figure = figure_named(study, "tokens/generation_stages_comparison");
  const auto gaussian = [&](size_t panel) { return lines_of(figure.panels[panel])[4].y; };
  // Means of 4,000 samples of 48 and of 112 elements (Python, random.gauss, seed 1).
  CHECK(gaussian(0)[1] == doctest::Approx(0.231).epsilon(0.005));
  CHECK(gaussian(0)[2] == doctest::Approx(0.221).epsilon(0.005));
  CHECK(gaussian(1)[1] == doctest::Approx(0.406).epsilon(0.005));
  CHECK(gaussian(2)[1] == doctest::Approx(0.361).epsilon(0.01));
  CHECK(gaussian(2)[2] == doctest::Approx(0.3466).epsilon(0.01));
}

TEST_CASE("[generation_figures] sizes: the full cache and one line for caches that are equally large") {
  GenerationStudy study = synthetic::generation({2, 2, 16, 4});
  analysis::EvictedText alike = study.evicted[1];
  alike.policy = "window";
  study.evicted.push_back(alike);
  const plot::Figure figure = figure_named(study, "generation/bytes");
  const auto lines = lines_of(figure.panels[0]);
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].end_label == "full cache");
  REQUIRE(lines[0].y.size() == 30);
  CHECK(lines[0].y[0] == 2.0 * 2 * 16 * 2 * 4 * 2 / 1024);
  CHECK(lines[0].y[29] == 2.0 * 2 * 45 * 2 * 4 * 2 / 1024);
  CHECK(lines[2].end_label == "streaming_llm, window 4");
  CHECK(lines[2].y.size() == 10);
  alike.policy = "a_policy_with_a_long_name";
  study.evicted.push_back(alike);
  const plot::Figure many = figure_named(study, "generation/bytes");
  CHECK(lines_of(many.panels[0])[2].end_label == "streaming_llm 4 and 2 more");
  CHECK(many.caption == "Equally large: streaming_llm, window, a_policy_with_a_long_name 4");
}

TEST_CASE("[generation_figures] texts: a panel a budget, a row a policy") {
  GenerationStudy study = synthetic::generation({2, 2, 16, 4});
  study.evicted[0].policy = "h2o";
  study.evicted[0].budget = "4";
  const plot::Figure figure = figure_named(study, "generation/policies");
  REQUIRE(figure.panels.size() == 2);
  CHECK(figure.panels[0].title == "Budget: 4 tokens");
  CHECK(figure.panels[0].y.names == std::vector<std::string>{"h2o", "streaming_llm"});
  const auto& map = std::get<plot::Heatmap>(figure.panels[0].marks[0]);
  REQUIRE(map.cols == 29);
  CHECK(map.z[28] == 0);
  CHECK(map.z[29 + 3] == 0);
  CHECK(map.z[29 + 4] == 1);
  CHECK(map.z[29 + 8] == 2);
  CHECK(std::isnan(map.z[29 + 9]));
}

TEST_CASE("[generation_figures] texts: the words around the first difference; who saves nothing is marked") {
  GenerationStudy study = synthetic::generation({2, 2, 16, 4});
  for (size_t i = 0; i < study.steps.size(); ++i) study.steps[i].text = " f" + std::to_string(i);
  analysis::EvictedText& text = study.evicted[1];
  text.policy = "h2o:mask", text.budget = "4", text.equal = 3;
  text.divergence = analysis::Divergence{.step = 3, .full = {}, .evicted = {}};
  text.pieces = {" f0", " f1", " f2", " other", " words"};
  study.evicted = {text};
  for (analysis::HeldCache& held : study.evicted[0].held) held.bytes = held.full_bytes, held.entries = 4;
  const plot::Figure figure = figure_named(study, "generation/policies");
  CHECK(figure.caption.starts_with("First to part, after 3 tokens \" f0 f1 f2\": full cache \" f3 f4"));
  CHECK(figure.caption.ends_with("h2o:mask 4 \" other words ...\"."));
  CHECK(figure.panels[0].y.names == std::vector<std::string>{"h2o:mask †"});
  CHECK(figure.panels[0].note.ends_with("† hides what it evicts and keeps it in memory"));
  const auto& map = std::get<plot::Heatmap>(figure.panels[0].marks[0]);
  CHECK(map.categories[1].colour.rgb != plot::colours::sink.rgb);
}

TEST_CASE("[generation_figures] a text that ends at once, a prompt without drift, one token") {
  GenerationStudy study = synthetic::generation({2, 2, 16, 4});
  study.steps.resize(1);
  study.cache.tokens.resize(1);
  study.cache.end = study.cache.stages[1];
  study.cache.end.key.drift = study.cache.end.value.drift = {};
  study.cache.end.tokens = 17;
  CHECK(figure_named(study, "generation/steps").panels.size() == 3);
  CHECK(figure_named(study, "generation/layers").panels.size() == 1);
  CHECK(figure_named(study, "tokens/generation_stages_comparison").panels.size() == 5);
  synthetic::draw(figures::generation_figures(study));

  study.steps.clear();
  study.cache.tokens.clear();
  study.cache.stages.resize(1);
  study.cache.end = study.cache.stages[0];
  study.text.clear();
  for (analysis::EvictedText& text : study.evicted) {
    text.pieces.clear();
    text.held.resize(1);
  }
  const auto left = figures::generation_figures(study);
  REQUIRE(left.size() == 2);
  CHECK(left[1].file == "generation/bytes");
  synthetic::draw(left);
}
