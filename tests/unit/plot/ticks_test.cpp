// SPDX-License-Identifier: MIT
#include "kvviz/plot/ticks.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kvviz/plot/text.hpp"

using namespace kvviz::plot;

namespace {

std::string labels(const TickRow& row) {
  std::string out;
  for (const Tick& tick : row.ticks) out += (out.empty() ? "" : " ") + tick.label;
  return out;
}

/// No two labels touch.
void check_apart(const TickRow& row, const Range& range, const TickSpace& space) {
  for (size_t i = 1; i < row.ticks.size(); ++i) {
    const double apart = (row.ticks[i].at - row.ticks[i - 1].at) / (range.high - range.low) * space.length;
    const auto size = [&](const Tick& tick) {
      return space.vertical || row.rotated ? space.font_size : text_width(tick.label, space.font_size);
    };
    CHECK(apart > (size(row.ticks[i]) + size(row.ticks[i - 1])) / 2);
  }
}

}  // namespace

TEST_CASE("[ticks] numbers are written short") {
  CHECK(number_label(0.30000000000000004, 2) == "0.3");
  CHECK(number_label(-0.0, 2) == "0");
  CHECK(number_label(12, 0) == "12");
  CHECK(number_label(250000, 0) == "250k");
  CHECK(number_label(50000, 0) == "50k");
  CHECK(number_label(5000, 0) == "5000");
  CHECK(number_label(3000000, 0) == "3M");
  CHECK(number_label(1.5e-7, 8) == "1.5×10⁻⁷");
  CHECK(power_label(0) == "1");
  CHECK(power_label(-3) == "0.001");
  CHECK(power_label(-4) == "10⁻⁴");
  CHECK(power_label(12) == "10¹²");
}

TEST_CASE("[ticks] a linear axis has round steps") {
  CHECK(labels(axis_ticks({}, {0, 1}, {400, 13, false})) == "0 0.2 0.4 0.6 0.8 1");
  CHECK(labels(axis_ticks({}, {-0.021, 0.022}, {200, 13, true})) == "-0.02 -0.01 0 0.01 0.02");
  CHECK(axis_ticks({}, {0.5406, 0.5594}, {70, 13, true}).ticks.size() >=
        3);  // a short axis has room for three
}

TEST_CASE("[ticks] whole axes never show fractions and thin out") {
  const Axis axis{.label = "layer", .whole = true};
  CHECK(labels(axis_ticks(axis, {-0.5, 2.5}, {800, 13, false})) == "0 1 2");
  CHECK(labels(axis_ticks(axis, {-0.5, 0.5}, {800, 13, false})) == "0");
  for (const int count : {1, 8, 20, 28, 64, 80, 126, 128, 512, 32768})
    for (const double length : {120.0, 400.0, 1400.0})
      for (const bool vertical : {false, true}) {
        const Range range{-0.5, count - 0.5};
        const TickRow row = axis_ticks(axis, range, {length, 13, vertical});
        CAPTURE(count);
        CAPTURE(length);
        REQUIRE(!row.ticks.empty());
        CHECK(row.ticks.front().at == 0);
        for (const Tick& tick : row.ticks) CHECK(tick.at == std::round(tick.at));
        CHECK(row.ticks.back().at <= count - 1);
        check_apart(row, range, {length, 13, vertical});
      }
}

TEST_CASE(
    "[ticks] logarithmic axes: decades, with 2 and 5 where there is room, round values within a decade") {
  const Axis axis{.label = "x", .scale = Scale::log10};
  CHECK(labels(axis_ticks(axis, {-6, 1.2}, {500, 13, false})) == "10⁻⁶ 10⁻⁵ 10⁻⁴ 0.001 0.01 0.1 1 10");
  CHECK(labels(axis_ticks(axis, {0, 2}, {500, 13, false})) == "1 2 5 10 20 50 100");
  CHECK(labels(axis_ticks(axis, {std::log10(0.3), std::log10(1.1)}, {160, 13, true})) == "0.4 0.6 0.8 1");
  for (const Range range : {Range{-40, 30}, Range{-3, 0.5}, Range{0.1, 0.2}, Range{2, 9}})
    for (const double length : {60.0, 300.0}) {
      const TickRow row = axis_ticks(axis, range, {length, 13, true});
      CHECK(!row.ticks.empty());
      check_apart(row, range, {length, 13, true});
    }
}

TEST_CASE("[ticks] within a decade a logarithmic axis has a few ticks, a whole one no fractions") {
  Axis axis{.label = "x", .scale = Scale::log10};
  CHECK(axis_ticks(axis, {std::log10(40.2), std::log10(40.65)}, {900, 13, true}).ticks.size() <= 10);
  CHECK(axis_ticks(axis, {std::log10(235), std::log10(665)}, {1300, 13, false}).ticks.size() <= 10);
  axis.whole = true;
  CHECK(labels(axis_ticks(axis, {-0.05, std::log10(8.5)}, {900, 13, false})) == "1 2 3 4 5 6 7 8");
  CHECK(labels(axis_ticks(axis, {-0.05, 1.2}, {900, 13, false})) == "1 2 5 10");
}

TEST_CASE("[ticks] the end of an axis beyond which values lie says so, as a power of ten where it is one") {
  Axis axis{.label = "x", .scale = Scale::log10, .floor = 1e-5, .ceiling = 3};
  CHECK(labels(axis_ticks(axis, {-5, std::log10(3.0)}, {500, 13, true})).starts_with("≤ 10⁻⁵ "));
  CHECK(labels(axis_ticks(axis, {-5, std::log10(3.0)}, {500, 13, true})).ends_with(" ≥ 3"));
}

TEST_CASE("[ticks] names: upright if they fit, else rotated, else numbers") {
  Axis axis{.label = "token", .whole = true, .names = {"␣the", "␣cat", "␣sat"}};
  const TickRow upright = axis_ticks(axis, {-0.5, 2.5}, {400, 13, false});
  CHECK(labels(upright) == "␣the ␣cat ␣sat");
  CHECK(!upright.rotated);
  const TickRow rotated = axis_ticks(axis, {-0.5, 2.5}, {70, 13, false});
  CHECK(labels(rotated) == "␣the ␣cat ␣sat");
  CHECK(rotated.rotated);
  CHECK(rotated.depth == doctest::Approx(text_width("␣sat", 13)).epsilon(0.2));
  CHECK(labels(axis_ticks(axis, {-0.5, 2.5}, {30, 13, false})) == "0 2");
  axis.names = {std::string(200, 'w')};
  CHECK(text_width(axis_ticks(axis, {-0.5, 0.5}, {4000, 13, false}).ticks[0].label, 13) <= 20 * 13);
}
