// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/plot/writer.hpp"

namespace kvviz::plot {
namespace {

constexpr double kLeastOutlined = 4;      // outlines would hide smaller cells
constexpr double kThickOutlined = 8;      // and thick ones these
constexpr double kColourLevels = 1000;    // more cannot be told apart
constexpr size_t kMostAnnotations = 600;  // more numbers than this nobody reads

size_t cell(const Heatmap& map, int row, int col) {
  return static_cast<size_t>(row) * static_cast<size_t>(map.cols) + static_cast<size_t>(col);
}

/// Without the sign of a number that is rounded to 0.
std::string rounded(double value, int decimals) {
  const std::string text = fmt::format("{:.{}f}", value, decimals);
  return text.starts_with('-') && text.find_first_not_of("-0.") == std::string::npos ? text.substr(1) : text;
}

}  // namespace

std::string Writer::shown(const Heatmap& map, double value, const Range& z) const {
  const double place = map.z_scale == Scale::log10 && value <= 0 ? z.low : on_axis(value, map.z_scale);
  if (!std::isfinite(place) || !std::isfinite(value)) return "NaN";
  const int decimals =
      std::clamp(static_cast<int>(std::ceil(-std::log10((z.high - z.low) / kColourLevels))), 0, 15);
  return fmt::format("{:.{}f}", std::clamp(place, z.low, z.high), decimals);
}

void Writer::cells(const Heatmap& map, const Range& z) {
  const std::string data = block();
  if (map.rows < 2 || map.cols < 2) {  // gnuplot's images need two of each
    for (int r = 0; r < map.rows; ++r)
      for (int c = 0; c < map.cols; ++c) {
        const double at_x = map.x0 + c * map.dx, at_y = map.y0 + r * map.dy;
        if (const std::string value = shown(map, map.z[cell(map, r, c)], z); value != "NaN")
          add(out_.blocks, "{} {} {} {} {} {} {}\n", number(at_x), number(at_y), number(at_x - map.dx / 2),
              number(at_x + map.dx / 2), number(at_y - map.dy / 2), number(at_y + map.dy / 2), value);
      }
    end_block();
    element("{} using 1:2:3:4:5:6:7 with boxxyerror fillcolor palette fillstyle solid noborder notitle",
            data);
    return;
  }
  // With the coordinates in the data there is nothing to compute per cell: gnuplot makes system calls for
  // each.
  out_.blocks += std::to_string(map.cols);
  for (int c = 0; c < map.cols; ++c) add(out_.blocks, " {}", number(map.x0 + c * map.dx));
  for (int r = 0; r < map.rows; ++r) {
    add(out_.blocks, "\n{}", number(map.y0 + r * map.dy));
    for (int c = 0; c < map.cols; ++c) add(out_.blocks, " {}", shown(map, map.z[cell(map, r, c)], z));
  }
  out_.blocks += '\n';
  end_block();
  element("{} nonuniform matrix using 1:2:3 with image notitle", data);
}

void Writer::palette(const Heatmap& map) {
  out_.settings += "set palette maxcolors 0 defined (";
  const auto stop = [&](size_t i, size_t place, Colour paint) {
    add(out_.settings, "{}{} {}", i > 0 ? ", " : "", place, colour(paint));
  };
  const std::vector<Colour>& table = stops(map.map);
  for (size_t i = 0; map.categories.empty() && i < table.size(); ++i) stop(i, i, table[i]);
  for (size_t i = 0; i < map.categories.size(); ++i)  // a step from each to the next
    for (const size_t end : {i, i + 1}) stop(i + end, end, map.categories[i].colour);
  out_.settings += ")\n";
}

void Writer::operator()(const Heatmap& map) {
  require(map.rows > 0 && map.cols > 0 && map.z.size() == cell(map, map.rows, 0), "heat map of panel \"",
          layout_.panel.title, "\": ", map.z.size(), " values for ", map.rows, " x ", map.cols, " cells");
  const Range z = layout_.z.low < layout_.z.high && layout_.colour_bar ? layout_.z : z_range(map);
  map.surface ? surface(map, z) : cells(map, z);
  palette(map);
  add(out_.settings, "set cbrange [{}:{}]\n", number(z.low), number(z.high));
  if (map.surface) return;
  add(out_.settings,
      "set object rectangle from graph 0,0 to graph 1,1 behind fillcolor rgb {} fillstyle solid noborder\n",
      colour(colours::nothing));
  annotate(map);
  outline(map);
}

void Writer::annotate(const Heatmap& map) {
  const double width = layout_.plot.width / map.cols, height = layout_.plot.height / map.rows;
  if (map.decimals < 0 || map.z.size() > kMostAnnotations || height < theme_.annotation_min_height) return;
  size_t longest = 0;
  for (const double value : map.z)
    if (std::isfinite(value)) longest = std::max(longest, fmt::format("{:.{}f}", value, map.decimals).size());
  const double size =
      std::min({theme_.tick_size, 0.8 * height, width / (0.65 * static_cast<double>(longest) + 0.5)});
  if (longest == 0 || width < theme_.annotation_min_width || size < 9) return;
  const Range z = z_range(map);
  const std::string data = block();
  for (int r = 0; r < map.rows; ++r)
    for (int c = 0; c < map.cols; ++c) {
      const double value = map.z[cell(map, r, c)], place = on_axis(value, map.z_scale);
      if (!std::isfinite(value)) continue;
      const Colour background =
          colour_at(map.map, std::isfinite(place) ? (place - z.low) / (z.high - z.low) : 0);
      add(out_.blocks, "{} {} {} {}\n", number(map.x0 + c * map.dx), number(map.y0 + r * map.dy),
          rounded(value, map.decimals), readable_on(background).rgb);
    }
  end_block();
  element("{} using 1:2:3:4 with labels textcolor rgb variable font ',{:.1f}' notitle", data, size);
}

void Writer::outline(const Heatmap& map) {
  const double size = std::min(layout_.plot.width / map.cols, layout_.plot.height / map.rows);
  if (!map.threshold || size < kLeastOutlined) return;
  const auto above = [&](int r, int c) {
    if (r < 0 || c < 0 || r >= map.rows || c >= map.cols) return false;
    const double value = map.z[cell(map, r, c)];
    return map.threshold_inclusive ? value >= *map.threshold : value > *map.threshold;
  };
  std::string lines;
  for (int r = 0; r <= map.rows; ++r)
    for (int c = 0; c <= map.cols; ++c) {
      const double left = map.x0 + (c - 0.5) * map.dx, top = map.y0 + (r - 0.5) * map.dy;
      if (above(r, c) != above(r, c - 1))
        add(lines, "{} {} 0 {}\n", number(left), number(top), number(map.dy));
      if (above(r, c) != above(r - 1, c))
        add(lines, "{} {} {} 0\n", number(left), number(top), number(map.dx));
    }
  if (lines.empty()) return;
  const std::string data = block();
  out_.blocks += lines;
  end_block();
  element("{} using 1:2:3:4 with vectors nohead linewidth {} linecolor rgb {} notitle", data,
          size < kThickOutlined ? 1 : 2, colour(colours::sink));
}

}  // namespace kvviz::plot
