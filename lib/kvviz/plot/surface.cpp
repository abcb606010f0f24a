// SPDX-License-Identifier: MIT
#include "kvviz/plot/writer.hpp"

namespace kvviz::plot {
namespace {

// Every cell is a flat tile, so that a value stands over its own row and column and nowhere between.
constexpr double kTile = 0.48;

}  // namespace

void Writer::surface(const Heatmap& map, const Range& z) {
  const std::string tiles = block();
  for (int r = 0; r < map.rows; ++r) {
    for (const double side_y : {-kTile, kTile}) {
      for (int c = 0; c < map.cols; ++c)
        for (const double side_x : {-kTile, kTile}) {
          const auto at = static_cast<size_t>(r) * static_cast<size_t>(map.cols) + static_cast<size_t>(c);
          add(out_.blocks, "{} {} {}\n", number(map.x0 + (c + side_x) * map.dx),
              number(map.y0 + (r + side_y) * map.dy), shown(map, map.z[at], z));
        }
      out_.blocks += '\n';
    }
  }
  end_block();
  element("{} using 1:2:3 with pm3d notitle", tiles);
  if (!map.threshold) return;
  const double at = on_axis(*map.threshold, map.z_scale);
  if (!(at > z.low && at < z.high)) return;
  const double left = map.x0 - map.dx / 2, right = map.x0 + (map.cols - 0.5) * map.dx;
  const double near = map.y0 - map.dy / 2, far = map.y0 + (map.rows - 0.5) * map.dy;
  const std::string plane = block();
  for (const double y : {near, far})
    add(out_.blocks, "{0} {2} {3}\n{1} {2} {3}\n\n", number(left), number(right), number(y), number(at));
  end_block();
  // The first two digits are gnuplot's transparency.
  element("{} using 1:2:3 with pm3d fillcolor rgb '#d0{:06x}' notitle", plane, colours::sink.rgb);
}

}  // namespace kvviz::plot
