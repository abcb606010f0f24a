// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "kvviz/plot/writer.hpp"

namespace kvviz::plot {
namespace {

constexpr double kFrontShade = 0.8, kSideShade = 0.62;  // of the walls, so that the steps can be told apart

Colour shaded(Colour colour, double share) {
  const auto part = [&](int shift) {
    return static_cast<uint32_t>(std::lround(((colour.rgb >> shift) & 0xff) * share)) << shift;
  };
  return {part(16) | part(8) | part(0)};
}

/// A step surface: a flat tile a cell and upright walls between cells, so that a value stands over its own
/// row and column and nowhere between. It is seen from above, from the corner of the last row and column, and
/// drawn from the back to the front: all that lies below the threshold's plane first, then the plane, then
/// what rises above it. No other order shows what the plane covers and what covers the plane.
class Steps {
 public:
  Steps(const Heatmap& map, const Range& z) : map_(map), z_(z) {}

  /// The parts between two heights; tiles at `low` itself belong to the part below.
  std::string between(double low, double high) const {
    std::string out;
    for (int r = 0; r < map_.rows; ++r)
      for (int c = 0; c < map_.cols; ++c) {
        const double top = height(r, c);
        const Colour paint = colour(r, c);
        const double left = x(c - 0.5), right = x(c + 0.5), back = y(r - 0.5), front = y(r + 0.5);
        if (top <= high && (top > low || low <= z_.low))
          quad(out, {left, back, top}, {right, back, top}, {left, front, top}, {right, front, top}, paint);
        const auto wall = [&](double foot, double share, double x0, double y0) {
          const double from = std::max(foot, low), to = std::min(top, high);
          if (from < to)
            quad(out, {x0, y0, from}, {right, front, from}, {x0, y0, to}, {right, front, to},
                 shaded(paint, share));
        };
        wall(height(r + 1, c), kFrontShade, left, front);
        wall(height(r, c + 1), kSideShade, right, back);
      }
    return out;
  }

  /// The outline of the plane; a filled one would tint the colours below it.
  std::string plane(double at) const {
    const double left = x(-0.5), right = x(map_.cols - 0.5), back = y(-0.5), front = y(map_.rows - 0.5);
    std::string out;
    for (const auto& [at_x, at_y] : {std::pair{left, back}, std::pair{right, back}, std::pair{right, front},
                                     std::pair{left, front}, std::pair{left, back}})
      fmt::format_to(std::back_inserter(out), "{} {} {}\n", number(at_x), number(at_y), number(at));
    return out;
  }

 private:
  struct Point {
    double x, y, z;
  };

  double x(double column) const { return map_.x0 + column * map_.dx; }
  double y(double row) const { return map_.y0 + row * map_.dy; }
  double place(int r, int c) const {
    return on_axis(map_.z[static_cast<size_t>(r) * static_cast<size_t>(map_.cols) + static_cast<size_t>(c)],
                   map_.z_scale);
  }
  double height(int r, int c) const {
    if (r >= map_.rows || c >= map_.cols) return z_.low;
    const double at = place(r, c);
    return std::isfinite(at) ? std::clamp(at, z_.low, z_.high) : z_.low;
  }
  Colour colour(int r, int c) const {
    const double at = place(r, c);
    return std::isfinite(at) ? colour_at(map_.map, (at - z_.low) / (z_.high - z_.low)) : colours::nothing;
  }
  static void quad(std::string& out, Point a, Point b, Point c, Point d, Colour paint) {
    const auto line = [&](const Point& p) {
      // All digits: a height rounded up beyond the axis would be cut off.
      fmt::format_to(std::back_inserter(out), "{} {} {} {}\n", number(p.x), number(p.y), number(p.z),
                     paint.rgb);
    };
    line(a), line(b);
    out += '\n';
    line(c), line(d);
    out += "\n\n";
  }

  const Heatmap& map_;
  const Range z_;
};

}  // namespace

void Writer::surface(const Heatmap& map, const Range& z) {
  const Steps steps(map, z);
  const auto data_of = [&](const std::string& lines) {
    std::string data = block();
    out_.blocks += lines;
    end_block();
    return data;
  };
  const auto draw = [&](const std::string& quads) {
    if (!quads.empty()) element("{} using 1:2:3:4 with pm3d fillcolor rgb variable notitle", data_of(quads));
  };
  const double threshold = map.threshold ? on_axis(*map.threshold, map.z_scale) : z.low;
  if (threshold > z.low && threshold < z.high) {
    draw(steps.between(z.low, threshold));
    element("{} using 1:2:3 with lines linewidth 2 linecolor rgb {} notitle", data_of(steps.plane(threshold)),
            colour(colours::sink));
    draw(steps.between(threshold, z.high));
  } else {
    draw(steps.between(z.low, z.high));
  }
  element("NaN with lines palette notitle");  // without it there is no colour bar
}

}  // namespace kvviz::plot
