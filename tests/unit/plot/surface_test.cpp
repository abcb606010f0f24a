// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "kvviz/plot/script.hpp"

using namespace kvviz::plot;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Figure figure_of(Heatmap map) {
  Panel panel;
  panel.title = "Surface";
  panel.x = {.label = "head", .whole = true};
  panel.y = {.label = "layer", .whole = true};
  panel.marks.emplace_back(std::move(map));
  Figure figure;
  figure.width = 600, figure.height = 400;
  figure.panels = {panel};
  return figure;
}

Heatmap four_cells() {
  return {.z = {0.25, 0.75, kNan, 0.4},
          .rows = 2,
          .cols = 2,
          .z_label = "share",
          .z_min = 0,
          .z_max = 1,
          .threshold = 0.5,
          .surface = true};
}

using Row = std::vector<double>;

/// The rows of the n-th data block of the first panel.
std::vector<Row> block(const std::string& script, int n) {
  const std::string head = "$p0_" + std::to_string(n) + " << EOD\n";
  const size_t begin = script.find(head);
  REQUIRE(begin != std::string::npos);
  std::istringstream lines(
      script.substr(begin + head.size(), script.find("EOD\n", begin + head.size()) - begin - head.size()));
  std::vector<Row> rows;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    Row row;
    for (double number = 0; numbers >> number;) row.push_back(number);
    if (!row.empty()) rows.push_back(row);
  }
  return rows;
}

struct Quad {
  double x0, x1, y0, y1, z0, z1;
  uint32_t colour;
};

std::vector<Quad> quads(const std::string& script, int n) {
  const std::vector<Row> rows = block(script, n);
  REQUIRE(rows.size() % 4 == 0);
  std::vector<Quad> out;
  for (size_t i = 0; i < rows.size(); i += 4) {
    Quad q{rows[i][0],
           rows[i][0],
           rows[i][1],
           rows[i][1],
           rows[i][2],
           rows[i][2],
           static_cast<uint32_t>(rows[i][3])};
    for (size_t k = i; k < i + 4; ++k) {
      q.x0 = std::min(q.x0, rows[k][0]), q.x1 = std::max(q.x1, rows[k][0]);
      q.y0 = std::min(q.y0, rows[k][1]), q.y1 = std::max(q.y1, rows[k][1]);
      q.z0 = std::min(q.z0, rows[k][2]), q.z1 = std::max(q.z1, rows[k][2]);
      CHECK(static_cast<uint32_t>(rows[k][3]) == q.colour);
    }
    out.push_back(q);
  }
  return out;
}

bool flat(const Quad& q) {
  return q.z0 == q.z1;
}

}  // namespace

TEST_CASE("[surface] walls stand on cell edges, close every step, and are drawn from the back to the front") {
  const std::string script = gnuplot_script(figure_of(four_cells()), {}, {});
  std::vector<Quad> walls;
  for (const int part : {0, 2})
    for (const Quad& q : quads(script, part))
      if (!flat(q)) walls.push_back(q);
  double area = 0;
  for (const Quad& q : walls) {
    CHECK((q.x0 == q.x1) != (q.y0 == q.y1));
    CHECK(std::abs(std::fmod(q.x1, 1)) == 0.5);
    CHECK(std::abs(std::fmod(q.y1, 1)) == 0.5);
    area += q.z1 - q.z0;
  }
  // To the front: 0.25 over nothing, 0.75 over 0.4, 0.4 over the floor; to the side: 0.75 and 0.4 over it.
  CHECK(area == doctest::Approx(0.25 + 0.35 + 0.4 + 0.75 + 0.4));
  const auto below = quads(script, 0);
  for (size_t i = 1; i < below.size(); ++i) CHECK(below[i].y1 >= below[i - 1].y0);
}

TEST_CASE("[surface] axes and colour bar are labelled and cover the same values") {
  Heatmap map = four_cells();
  map.z_min.reset(), map.z_max.reset();
  const std::string script = gnuplot_script(figure_of(map), {}, {});
  CHECK(script.find("set xlabel \"head\"") != std::string::npos);
  CHECK(script.find("set ylabel \"layer\"") != std::string::npos);
  CHECK(script.find("set zlabel \"share\"") != std::string::npos);
  CHECK(script.find("\"share\" at screen") != std::string::npos);
  CHECK(script.find("\"head\" at screen") == std::string::npos);  // once, along its axis
  CHECK(script.find("set cbrange [0.25:0.75]") != std::string::npos);
  CHECK(script.find("set zrange [0.25:0.75]") != std::string::npos);
  CHECK(script.find("set colorbox user") != std::string::npos);
}

TEST_CASE("[surface] edges are drawn while they do not blacken the cells") {
  const auto edged = [](int side) {
    const auto count = static_cast<size_t>(side * side);
    return gnuplot_script(figure_of({.z = std::vector<double>(count, 0.5),
                                     .rows = side,
                                     .cols = side,
                                     .z_label = "z",
                                     .surface = true}),
                          {}, {})
               .find(" border linecolor rgb '#444444'") != std::string::npos;
  };
  CHECK(edged(32));
  CHECK(!edged(128));
}

TEST_CASE("[outline] thinner on small cells, none on the smallest") {
  const auto width = [](int side) {
    std::vector<double> z(static_cast<size_t>(side) * static_cast<size_t>(side), 0);
    z[0] = 1;
    Theme plain;
    plain.scale = 1;
    const std::string script = gnuplot_script(
        figure_of({.z = z, .rows = side, .cols = side, .z_label = "z", .threshold = 0.5}), plain, {});
    const std::string words = "with vectors nohead linewidth ";
    const size_t at = script.find(words);
    return at == std::string::npos ? 0 : script[at + words.size()] - '0';
  };
  CHECK(width(8) == 2);
  CHECK(width(60) == 1);
  CHECK(width(200) == 0);
}
