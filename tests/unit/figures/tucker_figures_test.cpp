// SPDX-License-Identifier: MIT
#include "kvviz/figures/tucker_figures.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "support/errors.hpp"
#include "unit/figures/checks.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using figures::NamedFigure;

namespace {

struct Size {
  int layers = 1;
  int64_t heads = 1, tokens = 1, channels = 1;
  stats::Ranks ranks{1, 1, 1};
};

std::vector<double> falling(int64_t n) {
  std::vector<double> energies;
  for (int64_t i = 0; i < n; ++i) energies.push_back(std::pow(0.7, i));
  return energies;
}

TuckerTensor tensor(const Size& s, Half half) {
  TuckerTensor t{.half = half, .asked = s.ranks};
  t.tucker.ranks = s.ranks;
  t.tucker.heads = s.heads, t.tucker.tokens = s.tokens, t.tucker.channels = s.channels;
  t.tucker.error = 0.3;
  const auto waves = [](int64_t n) {
    std::vector<float> values;
    for (int64_t i = 0; i < n; ++i)
      values.push_back(static_cast<float>(std::sin(0.37 * static_cast<double>(i + 1))));
    return values;
  };
  t.tucker.core = waves(s.ranks.heads * s.ranks.tokens * s.ranks.channels);
  t.tucker.factors = {waves(s.heads * s.ranks.heads), waves(s.tokens * s.ranks.tokens),
                      waves(s.channels * s.ranks.channels)};
  return t;
}

TuckerStudy study(const Size& s, bool has_model, bool sweep) {
  TuckerStudy st{.method = "hooi",
                 .sides = "keys and values",
                 .has_rope = true,
                 .has_model = has_model,
                 .layers = s.layers};
  st.texts = 8, st.caches = 8, st.tokens = static_cast<double>(s.tokens), st.full_ppl = 38;
  const auto numbers = [](int64_t h, int64_t t, int64_t c) {
    return std::array<double, 3>{static_cast<double>(h), static_cast<double>(t), static_cast<double>(c)};
  };
  for (int l = 0; l < s.layers; ++l)
    for (const Half half : {Half::key, Half::value})
      st.parts.push_back({.layer = l,
                          .half = half,
                          .caches = 8,
                          .sizes = numbers(s.heads, s.tokens, s.channels),
                          .asked = numbers(s.ranks.heads, s.ranks.tokens, s.ranks.channels),
                          .ranks = numbers(s.ranks.heads, s.ranks.tokens, s.ranks.channels),
                          .elements = 1000,
                          .stored = 300,
                          .energy = 1,
                          .lost = 0.1 + 0.01 * l,
                          .initial = 0.2,
                          .best_lost = 0.05,
                          .energies = {falling(s.heads), falling(std::min(s.tokens, s.heads * s.channels)),
                                       falling(s.channels)}});
  st.components = {tensor(s, Half::key), tensor(s, Half::value)};
  const auto outcome = [&](double loss, double bytes) {
    CacheOutcome o{.predictions = 2040, .payload_bytes = bytes, .f16_bytes = 262144, .tokens = 256};
    if (has_model)
      o.delta_ppl = loss * 0.38, o.ppl = 38 + o.delta_ppl, o.delta_nll_se = std::fabs(loss) * 0.05 / o.ppl;
    return o;
  };
  for (const auto family : tucker_families)
    st.outcomes.push_back({.family = std::string(family), .outcome = outcome(5, 70000)});
  if (has_model)
    for (int l = 0; l < s.layers; ++l) st.sensitivity.push_back(outcome(l % 3 == 1 ? -0.2 : 0.1 * l, 1));
  if (!sweep) return st;
  st.other_keys = st.parts;
  for (const KeyBasis basis : {KeyBasis::post_rope, KeyBasis::pre_rope})
    for (int step = 1; step <= tucker_steps; ++step)
      for (const auto family : tucker_families)
        st.sweep.push_back({.family = std::string(family),
                            .basis = basis,
                            .step = step,
                            .key_error = 1.0 / step,
                            .value_error = 0.9 / step,
                            .outcome = outcome(5000 / std::pow(4.0, step) - 0.5, 12000.0 * step)});
  return st;
}

const plot::Figure& figure(const std::vector<NamedFigure>& all, const std::string& file) {
  const auto found = std::ranges::find(all, "tucker/" + file, &NamedFigure::file);
  REQUIRE(found != all.end());
  return found->figure;
}

}  // namespace

TEST_CASE("[tucker figures] labelled, texts inside and apart, from one element to a large model") {
  for (const Size& size : {Size{}, Size{4, 4, 256, 16, {4, 16, 8}}, Size{1, 8, 20, 128, {8, 20, 32}},
                           Size{28, 8, 512, 128, {8, 128, 64}}, Size{80, 8, 2048, 128, {4, 32, 32}},
                           Size{126, 64, 20, 64, {64, 20, 32}}})
    for (const bool sweep : {false, true})
      for (const NamedFigure& named : figures::tucker_figures(study(size, true, sweep), "demo")) {
        CAPTURE(named.file);
        CAPTURE(size.layers);
        synthetic::check_labelled(named);
        synthetic::check_texts(named);
      }
}

TEST_CASE("[tucker figures] components: cores as [heads x tokens, channels], factors by their own names") {
  const Size size{4, 4, 256, 16, {3, 10, 8}};
  const plot::Figure f = figure(figures::tucker_figures(study(size, true, false)), "tucker_components");
  REQUIRE(f.panels.size() == 8);
  CHECK(f.columns == 2);
  const auto map = [&](size_t i) { return std::get<plot::Heatmap>(f.panels[i].marks.front()); };
  CHECK(map(0).rows == 30);
  CHECK(map(0).cols == 8);
  CHECK(std::ranges::min(map(0).z) >= 0);
  CHECK(test::holds(f.panels[0].title, "core 3 x 10 x 8"));
  const std::pair<const char*, std::pair<int, int>> factors[] = {
      {"channels", {16, 8}}, {"tokens", {256, 10}}, {"heads", {4, 3}}};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(test::holds(f.panels[2 + 2 * i].title, std::string("factor of the ") + factors[i].first));
    CHECK(map(2 + 2 * i).rows == factors[i].second.first);
    CHECK(map(2 + 2 * i).cols == factors[i].second.second);
    CHECK(map(2 + 2 * i).map == plot::ColourMap::diverging);
    CHECK(map(2 + 2 * i).z.size() == static_cast<size_t>(map(2 + 2 * i).rows * map(2 + 2 * i).cols));
  }
}

TEST_CASE("[tucker figures] more tokens than can be seen: root mean squares, so that signs do not cancel") {
  const Size size{1, 2, 1500, 4, {2, 2, 2}};
  const plot::Figure f = figure(figures::tucker_figures(study(size, true, false)), "tucker_components");
  const auto& map = std::get<plot::Heatmap>(f.panels[4].marks.front());
  CHECK(map.rows == 250);
  CHECK(map.dy == 6);
  CHECK(map.y0 == 2.5);
  CHECK(map.map == plot::ColourMap::sequential);
  double sum = 0;
  for (int row = 0; row < 6; ++row) sum += std::pow(std::sin(0.37 * (2 * row + 1)), 2);
  CHECK(map.z[0] == doctest::Approx(std::sqrt(sum / 6)));
}

TEST_CASE(
    "[tucker figures] layers: errors of both halves, and the loss of each layer where it was measured") {
  const Size size{4, 4, 256, 16, {4, 16, 8}};
  const plot::Figure with = figure(figures::tucker_figures(study(size, true, false)), "layer_sensitivity");
  REQUIRE(with.panels.size() == 2);
  const auto& lines = std::get<plot::Lines>(with.panels[0].marks.front()).series;
  CHECK(lines[0].y[2] == doctest::Approx(std::sqrt(0.12)));
  const auto& bars = std::get<plot::Bars>(with.panels[1].marks.front()).groups;
  CHECK(bars[0].values[3] == doctest::Approx(0.3));
  CHECK(bars[0].errors.size() == 4);
  CHECK(test::holds(with.caption, "All layers at once"));
  const plot::Figure without =
      figure(figures::tucker_figures(study(size, false, false)), "layer_sensitivity");
  CHECK(without.panels.size() == 1);
}

TEST_CASE("[tucker figures] the sweep: every family and basis a line, the other basis dashed") {
  const auto all = figures::tucker_figures(study({4, 4, 256, 16, {4, 16, 8}}, true, true), "demo");
  const auto& lines = std::get<plot::Lines>(figure(all, "frontier").panels[0].marks.front()).series;
  REQUIRE(lines.size() == 7);
  CHECK(std::ranges::count(lines, plot::Stroke::dashed, &plot::Series::stroke) == 3);
  CHECK(lines[0].x.size() == tucker_steps);
  CHECK(std::ranges::is_sorted(lines[0].x));
  // The ranks asked for are none of the steps: a point of their own, which the headline counts too.
  const plot::Series& asked = lines.back();
  CHECK(asked.stroke == plot::Stroke::points);
  CHECK(asked.x == std::vector<double>{70000.0 / 256});
  CHECK(asked.y[0] == doctest::Approx(5));
  CHECK(asked.label == "Tucker, ranks asked for: 4 x 16 x 8");
  const plot::Figure& ranks = figure(all, "rank_sensitivity");
  REQUIRE(ranks.panels.size() == 4);
  CHECK(ranks.legend.size() == tucker_families.size());
  CHECK(ranks.legend[2].colour == lines[2].colour);
  const auto& keys = std::get<plot::Lines>(ranks.panels[1].marks.front()).series;
  CHECK(keys.size() == 6);
  CHECK(keys[0].x.back() == 100);
  CHECK(keys[0].y[3] == doctest::Approx(0.25));
  // Values do not depend on the basis of the keys.
  CHECK(std::get<plot::Lines>(ranks.panels[2].marks.front()).series.size() == 3);
}

TEST_CASE("[tucker figures] without a sweep three figures, with one five; a side left out is not drawn") {
  TuckerStudy s = study({2, 2, 9, 4, {2, 3, 2}}, true, false);
  CHECK(figures::tucker_figures(s).size() == 3);
  CHECK(figures::tucker_figures(study({2, 2, 9, 4, {2, 3, 2}}, true, true)).size() == 5);
  std::erase_if(s.parts, [](const TuckerPart& p) { return p.half == Half::value; });
  s.components.pop_back();
  s.sides = "keys";
  const auto keys = figures::tucker_figures(s);
  CHECK(figure(keys, "error_curves").panels.size() == 3);
  CHECK(figure(keys, "tucker_components").panels.size() == 4);
  for (const NamedFigure& named : keys) synthetic::check_texts(named);
  s.components.clear();  // the text whose they would have been has failed
  CHECK(figures::tucker_figures(s).size() == 2);
}
