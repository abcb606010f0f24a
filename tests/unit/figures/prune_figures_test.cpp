// SPDX-License-Identifier: MIT
#include "kvviz/figures/prune_figures.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "support/errors.hpp"
#include "unit/figures/checks.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using figures::NamedFigure;

namespace {

CacheOutcome outcome(const std::string& name, double delta_nll, int layers) {
  CacheOutcome o{.method = name,
                 .summary = name,
                 .texts = 8,
                 .predictions = 2040,
                 .delta_nll = delta_nll,
                 .delta_nll_se = 0.1 * std::abs(delta_nll),
                 .ppl = 38 * std::exp(delta_nll),
                 .delta_ppl = 38 * std::expm1(delta_nll),
                 .kl = std::abs(delta_nll),
                 .payload_bytes = 200000,
                 .metadata_bytes = 1000,
                 .f16_bytes = 256 * 1024,
                 .tokens = 256};
  for (int l = 0; l < layers; ++l) o.layers.push_back({.layer = l, .output_error = 0.1 * (l + 1)});
  return o;
}

PruningStudy study(int variants, int layers, bool timed) {
  PruningStudy s{.layers = layers, .texts = 8, .tokens = 4096, .full_ppl = 38};
  s.variants.push_back({.outcome = outcome("nothing", 0, layers)});
  for (int v = 0; v < variants; ++v) {
    s.variants.push_back(
        {.outcome = outcome("tokens:0-" + std::to_string(v) + "/layers:0-1", 0.1 * v, layers)});
    if (!timed || v % 2 == 1) continue;
    s.variants.back().steps = 64;
    s.variants.back().time = {1, 0.9, 1.2};
    s.variants.back().full_time = {2, 1.9, 2.2};
  }
  return s;
}

/// Losses that grow with the layer; the first metric falls with them, the second is the same for all.
SweepStudy sweep(SweepKind kind, int layers, int across) {
  SweepStudy s{.kind = kind, .layers = layers, .texts = 8, .tokens = 4096, .full_ppl = 38};
  s.metrics = {"distance", "key_rms", "sink_mass"};
  const auto add = [&](SweepItem item, int place) {
    const double loss = -0.01 + 0.02 * item.layer + 0.003 * place;
    item.outcome = outcome("layer:" + std::to_string(item.layer) + "/" + std::to_string(place), loss, layers);
    item.metrics = {-loss, 1, loss * loss};
    s.items.push_back(std::move(item));
  };
  for (int l = 0; l < layers; ++l) {
    if (kind == SweepKind::layers) add({.layer = l}, 0);
    for (int i = 0; i < across && kind == SweepKind::heads; ++i) add({.layer = l, .head = i}, i);
    for (const Half half : {Half::key, Half::value})
      for (int i = 0; i < across && kind == SweepKind::channels; ++i)
        add({.layer = l, .first_channel = 8 * i, .last_channel = 8 * i + 7, .half = half}, i);
  }
  s.correlations = correlations_of(s);
  return s;
}

}  // namespace

TEST_CASE("[prune figures] losses of very different size are told apart, with their numbers at the bars") {
  PruningStudy made = study(3, 2, false);
  const auto set = [&](size_t variant, double share) {
    CacheOutcome& outcome = made.variants[variant].outcome;
    outcome.delta_ppl = share * made.full_ppl, outcome.ppl = made.full_ppl + outcome.delta_ppl;
  };
  set(1, 21.12), set(2, 0.0018), set(3, -0.01);
  const plot::Panel panel = figures::prune_figures(made, "demo").front().figure.panels.front();
  CHECK(panel.y.scale == plot::Scale::log10);
  const auto& values = std::get<plot::Bars>(panel.marks[0]).groups[0].values;
  CHECK(values[0] == panel.y.ceiling);
  CHECK(values[1] == doctest::Approx(0.18));
  CHECK(values[2] == panel.y.floor);
  std::vector<std::string> labels;
  for (size_t i = 1; i < panel.marks.size(); ++i) {
    const auto& note = std::get<plot::Note>(panel.marks[i]);
    CHECK(note.y == values[i - 1]);
    labels.push_back(note.text);
  }
  CHECK(labels == std::vector<std::string>{"+2112 %", "+0.18 %", "-1.00 %"});
}

TEST_CASE("[prune figures] labelled, texts inside and apart, from one removal to many") {
  for (const auto& [variants, layers, timed] :
       {std::tuple{1, 1, true}, {3, 4, true}, {2, 80, false}, {5, 28, true}})
    for (const NamedFigure& named : figures::prune_figures(study(variants, layers, timed), "demo")) {
      CAPTURE(named.file);
      CAPTURE(variants);
      synthetic::check_labelled(named);
      synthetic::check_texts(named);
    }
}

TEST_CASE("[prune figures] sweeps: labelled, texts inside and apart, from one layer to many") {
  for (const SweepKind kind : {SweepKind::layers, SweepKind::heads, SweepKind::channels})
    for (const auto& [layers, across] : {std::pair{1, 1}, {4, 4}, {28, 8}, {80, 16}, {6, 64}})
      for (const NamedFigure& named : figures::sweep_figures(sweep(kind, layers, across), "demo")) {
        CAPTURE(named.file);
        CAPTURE(layers);
        CAPTURE(across);
        synthetic::check_labelled(named);
        synthetic::check_texts(named);
      }
}

TEST_CASE("[prune figures] loss in percent, the time only where it was measured") {
  const auto with = figures::prune_figures(study(2, 3, true)),
             none = figures::prune_figures(study(2, 3, false));
  REQUIRE(with[0].figure.panels.size() == 3);
  CHECK(none[0].figure.panels.size() == 2);
  const auto& loss = std::get<plot::Bars>(with[0].figure.panels[0].marks.front()).groups.front();
  REQUIRE(loss.values.size() == 2);
  CHECK(loss.values[1] == doctest::Approx(100 * std::expm1(0.1)));
  const auto& times = std::get<plot::Bars>(with[0].figure.panels[2].marks.front()).groups;
  CHECK(times[0].values[0] == 2);
  CHECK(times[1].values[0] == 1);
  CHECK(times[1].errors[0] == doctest::Approx(0.1));
  CHECK(times[1].errors_above[0] == doctest::Approx(0.2));
  CHECK(std::isnan(times[1].values[1]));
}

TEST_CASE("[prune figures] a sweep of heads: the loss where it belongs, beside what foretells it") {
  const SweepStudy s = sweep(SweepKind::heads, 3, 2);
  const auto all = figures::sweep_figures(s);
  REQUIRE(all.size() == 3);
  CHECK(all[0].file == "prune/sweep_heads");
  const auto& map = std::get<plot::Heatmap>(all[0].figure.panels[0].marks.front());
  REQUIRE(map.rows == 3);
  REQUIRE(map.cols == 2);
  CHECK(map.map == plot::ColourMap::diverging);
  for (const SweepItem& item : s.items)
    CHECK(map.z[static_cast<size_t>(item.layer * 2 + item.head)] == item.outcome.delta_nll);
  CHECK(test::holds(all[0].figure.panels[1].title, "distance [tokens] (ρ = -1.00"));
  CHECK(test::holds(all[0].figure.caption, "Cheapest: layer:0/0"));
  const plot::Panel& metrics = all[1].figure.panels.front();
  CHECK(metrics.y.names.front() == "distance [tokens]");
  const auto& rho = std::get<plot::Heatmap>(metrics.marks.front());
  CHECK(rho.z[0] == doctest::Approx(-1));
  CHECK(std::isnan(rho.z[4]));  // a metric that is the same for all
}

TEST_CASE("[prune figures] colours of a sweep end where few cost more") {
  SweepStudy s = sweep(SweepKind::heads, 4, 8);
  s.items[5].outcome.delta_nll = 7;
  const auto panel = figures::sweep_figures(s)[0].figure.panels[0];
  const auto& map = std::get<plot::Heatmap>(panel.marks.front());
  CHECK(*map.z_max < 1);
  CHECK(*map.z_min == -*map.z_max);
  CHECK(test::holds(panel.note, "7 nats"));
  // The points too: one that breaks the model stands at the top as a triangle.
  const auto points = figures::sweep_figures(s)[2].figure.panels[0];
  const auto& series = std::get<plot::Lines>(points.marks.front()).series;
  REQUIRE(series.size() == 2);
  CHECK(series[0].y.size() == 31);
  CHECK(std::ranges::max(series[0].y) < 1);
  REQUIRE(series[1].y.size() == 1);
  CHECK(series[1].marker == plot::Marker::triangle);
  CHECK(series[1].y[0] < 1);
  CHECK(test::holds(points.note, "7 nats"));
}

TEST_CASE("[prune figures] few points are named; a p that no pairing was below reads at most") {
  SweepStudy few = sweep(SweepKind::heads, 2, 3);
  const auto points = figures::sweep_figures(few)[2].figure.panels[0];
  std::vector<std::string> names;
  for (const plot::Mark& mark : points.marks)
    if (const auto* note = std::get_if<plot::Note>(&mark)) names.push_back(note->text);
  CHECK(names.size() == few.items.size());
  CHECK(names.front() == few.items.front().outcome.method);
  const auto many = figures::sweep_figures(sweep(SweepKind::heads, 4, 8))[2].figure.panels[0];
  CHECK(test::holds(many.title, "p ≤ 0.0001"));
  for (const plot::Mark& mark : many.marks) CHECK_FALSE(std::holds_alternative<plot::Note>(mark));
}
