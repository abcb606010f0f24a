// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "kvviz/plot/script.hpp"

using namespace kvviz::plot;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::string script_of(Heatmap map, int width = 1200, int height = 800) {
  Panel panel;
  panel.x = {.label = "head", .whole = true};
  panel.y = {.label = "layer", .whole = true};
  map.z_label = "score";
  panel.marks.emplace_back(std::move(map));
  Figure figure;
  figure.width = width, figure.height = height;
  figure.panels = {panel};
  return gnuplot_script(figure, {}, {});
}

using Row = std::vector<double>;

/// The rows of the data block that the nth element with `what` draws; empty lines left out.
std::vector<Row> rows_of(const std::string& script, const std::string& what, size_t nth = 0) {
  size_t at = 0;
  for (size_t i = 0; i <= nth; ++i) {
    at = script.find(what, i == 0 ? 0 : at + 1);
    if (at == std::string::npos) return {};
  }
  const size_t dollar = script.rfind('$', at);
  const std::string name = script.substr(dollar, script.find(' ', dollar) - dollar);
  const size_t begin = script.find(name + " << EOD\n");
  REQUIRE(begin != std::string::npos);
  std::istringstream lines(script.substr(begin, script.find("\nEOD\n", begin) - begin));
  std::string line;
  std::getline(lines, line);
  std::vector<Row> rows;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    Row row;
    for (double value = 0; words >> value;) row.push_back(value);
    if (!row.empty()) rows.push_back(row);
  }
  return rows;
}

/// A segment between two corners of cells, in half cells, the smaller end first.
using Edge = std::array<int, 4>;

std::set<Edge> outline_of(const std::string& script) {
  std::set<Edge> edges;
  const auto half_cells = [](double value) {
    CHECK(2 * value == std::round(2 * value));
    return static_cast<int>(std::lround(2 * value));
  };
  for (const Row& row : rows_of(script, "with vectors nohead")) {
    REQUIRE(row.size() == 4);
    const int x = half_cells(row[0]), y = half_cells(row[1]), dx = half_cells(row[2]),
              dy = half_cells(row[3]);
    CHECK(std::abs(x % 2) == 1);  // corners of cells, whose centres are whole
    CHECK(std::abs(y % 2) == 1);
    CHECK(dx + dy == 2);
    CHECK(dx * dy == 0);
    CHECK(edges.insert({x, y, x + dx, y + dy}).second);
  }
  return edges;
}

/// An edge is drawn when it is a side of exactly one of the chosen cells.
std::set<Edge> sides_of(const std::vector<std::array<int, 2>>& cells) {
  std::set<Edge> edges;
  const auto flip = [&](Edge edge) {
    if (!edges.erase(edge)) edges.insert(edge);
  };
  for (const auto& [row, col] : cells) {
    const int left = 2 * col - 1, top = 2 * row - 1;
    flip({left, top, left + 2, top}), flip({left, top + 2, left + 2, top + 2});
    flip({left, top, left, top + 2}), flip({left + 2, top, left + 2, top + 2});
  }
  return edges;
}

}  // namespace

TEST_CASE("[heatmap] the outline runs along the edges of the cells above the threshold, and nowhere else") {
  Heatmap map{.z = {0.1, 0.9, 0.8, 0.2,   //
                    0.5, 0.7, kNan, 0.9,  //
                    0.3, 0.2, 0.6, 0.1},
              .rows = 3,
              .cols = 4,
              .threshold = 0.5};
  CHECK(outline_of(script_of(map)) == sides_of({{0, 1}, {0, 2}, {1, 1}, {1, 3}, {2, 2}}));
  map.threshold_inclusive = true;
  CHECK(outline_of(script_of(map)) == sides_of({{0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 3}, {2, 2}}));
  map.threshold = 2;
  CHECK(outline_of(script_of(map)).empty());
  map.threshold.reset();
  CHECK(outline_of(script_of(map)).empty());
}

TEST_CASE("[heatmap] outlines that would hide the cells are left out") {
  const auto outlined = [](int rows, int cols) {
    const Heatmap map{.z = std::vector<double>(static_cast<size_t>(rows) * static_cast<size_t>(cols), 1),
                      .rows = rows,
                      .cols = cols,
                      .threshold = 0.5};
    return script_of(map).find("with vectors nohead") != std::string::npos;
  };
  CHECK(outlined(1, 1));
  CHECK(outlined(32, 32));
  CHECK(outlined(126, 128));
  CHECK(!outlined(400, 32));
  CHECK(!outlined(32, 400));
}

TEST_CASE("[heatmap] a surface shows every cell at its height, none above the axis") {
  Heatmap map{.z = {0.123456789, 0.25, kNan, 0.89999997}, .rows = 2, .cols = 2, .surface = true};
  map.z_min = 0, map.z_max = 0.89999997;
  const std::string script = script_of(map);
  const size_t range = script.find("set zrange [");
  REQUIRE(range != std::string::npos);
  const double low = std::stod(script.substr(range + 12)),
               high = std::stod(script.substr(script.find(':', range) + 1));
  std::set<double> flat;  // heights of the tiles: four corners alike
  const auto rows = rows_of(script, "with pm3d");
  REQUIRE(rows.size() % 4 == 0);
  for (size_t i = 0; i < rows.size(); i += 4) {
    for (size_t corner = i; corner < i + 4; ++corner) {
      REQUIRE(rows[corner].size() == 4);
      CHECK(rows[corner][2] >= low);
      CHECK(rows[corner][2] <= high);
    }
    if (rows[i][2] == rows[i + 2][2]) flat.insert(rows[i][2]);
  }
  REQUIRE(flat.size() == 4);
  CHECK(*flat.begin() == low);  // no value: on the floor
  CHECK(std::abs(*std::next(flat.begin()) - 0.123456789) < 1e-7);
  CHECK(*flat.rbegin() == high);
  const bool grey = std::ranges::any_of(rows, [](const Row& row) { return row[3] == colours::nothing.rgb; });
  CHECK(grey);
}

TEST_CASE("[heatmap] a surface is drawn below its threshold, then the plane's outline, then above it") {
  Heatmap map{.z = {0.25, 0.5, 0.75, 1}, .rows = 2, .cols = 2, .threshold = 0.6, .surface = true};
  map.z_min = 0, map.z_max = 1;
  const std::string script = script_of(map);
  const auto below = rows_of(script, "with pm3d", 0), above = rows_of(script, "with pm3d", 1),
             plane = rows_of(script, "with lines linewidth 2 linecolor rgb '#ff3366'");
  REQUIRE(!below.empty());
  REQUIRE(!above.empty());
  REQUIRE(plane.size() == 5);  // a closed outline
  CHECK(plane.front() == plane.back());
  for (const Row& row : below) CHECK(row[2] <= 0.6);
  for (const Row& row : above) CHECK(row[2] >= 0.6);
  std::set<double> x, y;
  for (const Row& row : plane) {
    CHECK(row[2] == 0.6);
    x.insert(row[0]), y.insert(row[1]);
  }
  CHECK(x == std::set<double>{-0.5, 1.5});
  CHECK(y == std::set<double>{-0.5, 1.5});
  map.threshold = 3;
  CHECK(rows_of(script_of(map), "with pm3d", 1).empty());
}

TEST_CASE("[heatmap] categories: a palette of steps, the kinds in the legend, no colour bar") {
  Heatmap map;
  map.rows = 2, map.cols = 3;
  map.z = {0, 1, 2, kNan, 1, 0};
  map.categories = {{"near", {0x112233}}, {"far", {0x445566}}, {"lost", {0x778899}}};
  Panel panel;
  panel.x = {.label = "block"};
  panel.y = {.label = "layer"};
  panel.marks.emplace_back(map);
  Figure figure;
  figure.panels = {panel};
  const std::string script = gnuplot_script(figure, {}, {});
  CHECK(
      script.find("defined (0 '#112233', 1 '#112233', 1 '#445566', 2 '#445566', 2 '#778899', 3 '#778899')") !=
      std::string::npos);
  CHECK(script.find("set cbrange [-0.5:2.5]") != std::string::npos);
  CHECK(script.find("unset colorbox") != std::string::npos);
  for (const char* label : {"near", "far", "lost", "no value"})
    CHECK_MESSAGE(script.find(std::string("set label \"") + label + "\" at") != std::string::npos, label);
}
