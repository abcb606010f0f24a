// SPDX-License-Identifier: MIT
#include "kvviz/figures/profile_figures.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "kvviz/plot/prepare.hpp"
#include "unit/figures/checks.hpp"

using namespace kvviz;
using namespace kvviz::analysis;
using figures::NamedFigure;

namespace {

struct Size {
  int layers = 32;
  int64_t tokens = 2048, window = 0;
  bool measured = true;
};

std::vector<NamedFigure> make(const Size& size) {
  CacheShape shape;
  shape.layers.assign(static_cast<size_t>(size.layers), {2, 8, size.window});
  const CacheType f16 = parse_cache_type("f16");
  MeasuredAccess access{size.layers, 2, size.tokens, {}, {}};
  for (int64_t i = 0; size.measured && i < size.layers * 2 * size.tokens; ++i) {
    const int64_t later = size.tokens - 1 - i % size.tokens;
    access.reads.push_back(static_cast<int32_t>(i % 7 == 0 ? later / 3 : later / 400));
    access.mass.push_back(0.01F * static_cast<float>(i % 11));
  }
  const int64_t bytes = cache_bytes(shape, f16, size.tokens);
  const std::vector<MemoryTier> tiers{
      {"HBM", bytes / 4 + 1024, 3.35e12}, {"RAM", bytes, 63e9}, {"disk", 8 * bytes, 7e9}};
  const CacheSizes sizes = cache_sizes(shape, {.tokens = size.tokens,
                                               .lengths = {512, 1024, 131072},
                                               .memories = {{"8GiB", int64_t{8} << 30}, {"1B", 1}},
                                               .weights = 100});
  const CacheProfile profile =
      cache_profile(shape, f16, {size.tokens, 16, 4}, tiers, size.measured ? &access : nullptr);
  return figures::profile_figures({.sizes = &sizes,
                                   .profile = &profile,
                                   .subject = "a model, 1 sequence",
                                   .l2 = 50000000,
                                   .context = 4096,
                                   .without_weights = false});
}

const plot::Heatmap& map_of(const NamedFigure& figure, size_t panel) {
  return std::get<plot::Heatmap>(figure.figure.panels.at(panel).marks.front());
}

}  // namespace

TEST_CASE("[profile figures] labelled, without overlaps, from one layer to many, with a window, unmeasured") {
  for (const Size& size : {Size{}, Size{1, 1, 0, true}, Size{1, 17, 0, false}, Size{126, 300, 100, true},
                           Size{4, 4096, 512, false}, Size{80, 20, 0, true}}) {
    CAPTURE(size.layers);
    CAPTURE(size.tokens);
    const auto all = make(size);
    CHECK(all.size() == (size.measured ? 3 : 2));
    for (const NamedFigure& named : all) {
      synthetic::check_labelled(named);
      synthetic::check_texts(named);
    }
  }
}

TEST_CASE("[profile figures] all draw") {
  synthetic::draw(make({}));
  synthetic::draw(make({1, 1, 0, true}));
  synthetic::draw(make({2, 131072, 0, false}));
}

TEST_CASE("[profile figures] the block map shows tiers by name, and what a window dropped as grey") {
  const auto all = make({2, 64, 20, true});
  const plot::Heatmap& map = map_of(all[1], 0);
  REQUIRE(map.rows == 2);
  REQUIRE(map.cols == 4);
  REQUIRE(map.categories.size() == 3);
  CHECK(map.categories[0].label.starts_with("HBM"));
  CHECK(std::isnan(map.z[0]));
  CHECK(map.z[3] == 0);
  const auto entries = plot::legend(all[1].figure.panels[0]);
  CHECK(entries.size() == 4);
  CHECK(entries.back().label.find("window") != std::string::npos);
  CHECK(map.x0 == 8);  // the axis counts tokens
  CHECK(map.dx == 16);
}

TEST_CASE("[profile figures] sizes are those of the result; a memory that holds nothing has no point") {
  const auto all = make({3, 100, 0, false});
  const auto& lines = std::get<plot::Lines>(all[0].figure.panels[0].marks[0]);
  CHECK(lines.series[1].end_label.starts_with("f16"));
  CHECK(lines.series[1].y[1] == 3 * 2 * 2 * 8 * 2 * 1024);
  const auto& fits = std::get<plot::Lines>(all[0].figure.panels[1].marks[0]);
  CHECK(all[0].figure.panels[1].x.names == std::vector<std::string>{"8GiB", "1B"});
  CHECK(fits.series[1].x == std::vector<double>{0, 1});
  CHECK(fits.series[1].y[0] == std::floor((8589934592.0 - 100) / 192));
  CHECK(std::isnan(fits.series[1].y[1]));
}

TEST_CASE("[profile figures] where windows leave no limit there is no panel about it") {
  CHECK(make({3, 100, 0, false})[0].figure.panels.size() == 2);
  CHECK(make({3, 100, 20, false})[0].figure.panels.size() == 1);
}

TEST_CASE("[profile figures] of the tiers beyond the first that holds every size none is drawn") {
  const auto references = [](const Size& size) {
    const auto all = make(size);
    std::vector<std::string> labels;
    for (const auto& mark : all[0].figure.panels[0].marks)
      if (const auto* line = std::get_if<plot::Reference>(&mark)) labels.push_back(line->label);
    return labels;
  };
  CHECK(references({3, 100, 0, false}).size() == 5);  // none holds 131,072 tokens: three tiers, L2, context
  const auto bounded = references({1, 100, 5, false});
  CHECK(bounded.size() == 3);
  CHECK(bounded[0].starts_with("HBM"));
}
