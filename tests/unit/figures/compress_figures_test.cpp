// SPDX-License-Identifier: MIT
#include "kvviz/figures/compress_figures.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "support/errors.hpp"
#include "unit/figures/checks.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using figures::NamedFigure;

namespace {

/// Families of methods whose loss grows by factors as their bytes shrink; some break the model, some gain.
CompressionStudy study(int families, int members, int layers) {
  CompressionStudy s{.layers = layers, .query_heads = 8, .texts = 8, .tokens = 4096, .full_ppl = 38};
  s.sides = "keys and values";
  s.key_basis = "after RoPE";
  s.when = "after the prefix";
  for (int f = 0; f < families; ++f)
    for (int m = 0; m < members; ++m) {
      const double bytes = 256 * 1024 / std::pow(1.7, m + 0.2 * f);
      CacheOutcome o{.method = "family_" + std::to_string(f) + ":" + std::to_string(members - m),
                     .family = "family_" + std::to_string(f),
                     .texts = 8,
                     .predictions = 2040,
                     .delta_ppl = (f % 3 == 0 && m == 0 ? -1 : 1) * 0.002 * std::pow(9, m) * (1 + f),
                     .payload_bytes = bytes,
                     .metadata_bytes = 1000,
                     .f16_bytes = 256 * 1024,
                     .tokens = 256};
      o.ppl = 38 + o.delta_ppl;
      o.delta_nll = o.delta_ppl / 38;
      o.delta_nll_se = 0.1 * std::abs(o.delta_ppl) / o.ppl;
      for (int l = 0; l < layers; ++l)
        o.layers.push_back({.layer = l, .output_error = 0.01 * (l + 1) * (m + 1)});
      s.outcomes.push_back(std::move(o));
    }
  mark_frontier(s.outcomes);
  return s;
}

}  // namespace

TEST_CASE("[compress figures] labelled, texts inside and apart, from one method to many") {
  for (const auto& [families, members, layers] :
       {std::tuple{1, 1, 1}, {2, 3, 4}, {14, 4, 12}, {18, 6, 32}, {3, 2, 80}})
    for (const NamedFigure& named : figures::compress_figures(study(families, members, layers), "demo")) {
      CAPTURE(named.file);
      CAPTURE(families);
      synthetic::check_labelled(named);
      synthetic::check_texts(named);
    }
}

TEST_CASE(
    "[compress figures] the frontier: points where they are, rings on the Pareto set, the answer above") {
  const CompressionStudy s = study(2, 3, 4);
  const auto all = figures::compress_figures(s, "demo");
  REQUIRE(all.size() == 2);
  CHECK(all[0].file == "compress/frontier");
  const plot::Panel& panel = all[0].figure.panels.front();
  const auto& lines = std::get<plot::Lines>(panel.marks.front()).series;
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].end_label == "family_0");
  REQUIRE(lines[1].x.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(lines[1].x[i] == doctest::Approx(s.outcomes[3 + i].bytes() / 256));
    CHECK(lines[1].y[i] == doctest::Approx(100 * s.outcomes[3 + i].delta_ppl / 38));
  }
  size_t chosen = 0;
  for (const CacheOutcome& o : s.outcomes) chosen += o.on_frontier ? 1 : 0;
  CHECK(lines[2].x.size() == chosen);
  CHECK(test::holds(panel.title, "Change below"));
  CHECK(test::holds(panel.title, "1 %: family_"));
  CHECK(test::holds(all[0].figure.caption, "Frontier: "));
  CHECK(test::holds(all[0].figure.subtitle, "2040 predictions"));
}

TEST_CASE("[compress figures] errors by layer, from the most bytes to the fewest") {
  const CompressionStudy s = study(2, 2, 3);
  const auto all = figures::compress_figures(s);
  const plot::Panel& panel = all[1].figure.panels.front();
  CHECK(panel.y.names == std::vector<std::string>{"family_0:2", "family_1:2", "family_0:1", "family_1:1"});
  const auto& map = std::get<plot::Heatmap>(panel.marks.front());
  REQUIRE(map.z.size() == 4 * 3);
  CHECK(map.z[2] == doctest::Approx(0.03));
  CHECK(map.z[11] == doctest::Approx(0.06));
}

TEST_CASE("[compress figures] the recommendation is a point of its own; without a model, errors are drawn") {
  CompressionStudy s = study(9, 3, 4);
  s.recommendation = Recommendation{.outcome = s.outcomes[4]};
  const auto with = figures::compress_figures(s, "demo");
  const auto& lines = std::get<plot::Lines>(with[0].figure.panels.front().marks.front()).series;
  REQUIRE(lines.size() == 11);
  CHECK(lines[9].x.at(0) == s.outcomes[4].bytes_per_token());
  for (const NamedFigure& named : with) synthetic::check_texts(named);
  s.when = "";
  s.recommendation.reset();
  for (CacheOutcome& o : s.outcomes) o.key_error = 0.5, o.value_error = 2;
  const auto without = figures::compress_figures(s, "demo");
  REQUIRE(without.size() == 1);
  CHECK(without[0].file == "compress/rate_distortion");
  const auto& values = std::get<plot::Lines>(without[0].figure.panels.at(1).marks.front()).series;
  CHECK(values[0].y[0] == 1);
  synthetic::check_labelled(without[0]);
  synthetic::check_texts(without[0]);
}
