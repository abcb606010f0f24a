// SPDX-License-Identifier: MIT
#include "kvviz/plot/marks.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/plot/writer.hpp"

namespace kvviz::plot {

std::string shape(Marker marker) {
  switch (marker) {
    case Marker::square:
      return "pointtype 5 pointsize 0.65*point";
    case Marker::triangle:
      return "pointtype 9 pointsize 0.85*point";
    case Marker::diamond:
      return "pointtype 13 pointsize 0.95*point";
    case Marker::inverted:
      return "pointtype 11 pointsize 0.85*point";
    case Marker::ring:
      return "pointtype 6 pointsize 1.7*point linewidth 2.2";
    default:
      return "pointtype 7 pointsize 0.7*point";
  }
}

bool Writer::curve(const Series& series) {
  const bool bars = series.stroke == Stroke::impulses;
  bool any = false;
  for (size_t i = 0; i < series.x.size(); ++i) {
    const double at_x = x(series.x[i]), at_y = y(series.y[i]);
    if (std::isfinite(at_x) && std::isfinite(at_y)) {
      if (bars) {
        add(out_.blocks, "{} {} 0 {}\n", number(at_x), number(floor()), number(at_y - floor()));
      } else {
        add(out_.blocks, "{} {}\n", number(at_x), number(at_y));
      }
      any = true;
    } else {
      out_.blocks += '\n';
      if (std::isfinite(at_x)) missing_.push_back(at_x);
    }
  }
  return any;
}

bool Writer::area(const Series& series) {
  bool any = false;
  const size_t n = series.x.size();
  for (size_t i = 0; i < n; ++i) {
    const double at = x(series.x[i]), top = y(series.y[i]);
    const double before = i > 0 ? x(series.x[i - 1]) : 2 * at - x(series.x[i + 1]);
    const double after = i + 1 < n ? x(series.x[i + 1]) : 2 * at - before;
    if (std::isfinite(at) && std::isfinite(top)) {
      for (const double edge : {(before + at) / 2, (at + after) / 2})
        add(out_.blocks, "{} {} {}\n", number(edge), number(floor()), number(top));
      any = true;
    } else {
      out_.blocks += '\n';
      if (std::isfinite(at)) missing_.push_back(at);
    }
  }
  return any;
}

void Writer::operator()(const Band& band) {
  require(band.x.size() == band.low.size() && band.x.size() == band.high.size(), "band \"", band.label,
          "\": ", band.x.size(), " x, ", band.low.size(), " low and ", band.high.size(), " high values");
  const std::string data = block();
  for (size_t i = 0; i < band.x.size(); ++i) {
    const double at = x(band.x[i]), low = y(band.low[i]), high = y(band.high[i]);
    if (std::isfinite(at) && std::isfinite(low) && std::isfinite(high)) {
      add(out_.blocks, "{} {} {}\n", number(at), number(low), number(high));
    } else {
      out_.blocks += '\n';
    }
  }
  end_block();
  element("{} using 1:2:3 with filledcurves fillcolor rgb {} fillstyle transparent solid {} noborder notitle",
          data, colour(*band.colour), number(kBandOpacity));
}

void Writer::steps(const std::vector<double>& edges, const Histogram::Group& group) {
  for (size_t i = 0; i < group.counts.size(); ++i) {
    const double count = y(group.counts[i]), low = x(edges[i]), high = x(edges[i + 1]);
    const double top = std::isfinite(count) ? count : floor();
    if (std::isfinite(low) && std::isfinite(high))
      add(out_.blocks, "{0} {2} {3}\n{1} {2} {3}\n", number(low), number(high), number(floor()), number(top));
  }
}

void Writer::operator()(const Histogram& histogram) {
  for (const Histogram::Group& group : histogram.groups) {
    require(histogram.edges.size() == group.counts.size() + 1, "histogram \"", group.label,
            "\": ", group.counts.size(), " counts for ", histogram.edges.size(), " edges");
    if (group.counts.empty()) continue;
    const std::string data = block();
    steps(histogram.edges, group);
    end_block();
    element(
        "{} using 1:2:3 with filledcurves fillcolor rgb {} fillstyle transparent solid {} noborder notitle",
        data, colour(*group.colour), number(kHistogramOpacity));
    element("{} using 1:3 with lines linewidth {} linecolor rgb {} notitle", data,
            number(theme_.line_width * 0.8), colour(*group.colour));
  }
}

void Writer::operator()(const Bars& bars) {
  const double width =
      bars.stacked ? 0.8 : 0.8 / static_cast<double>(std::max<size_t>(1, bars.groups.size()));
  double offset = bars.stacked ? 0 : -0.4 + width / 2;
  std::vector<double> below;  // of stacked bars, in values
  for (const Bars::Group& group : bars.groups) {
    const std::string data = block();
    std::string whiskers;
    bool any = false;
    below.resize(std::max(below.size(), group.values.size()), 0);
    for (size_t i = 0; i < group.values.size(); ++i) {
      const double at = static_cast<double>(i) + offset, value = group.values[i];
      const double from = bars.stacked && below[i] > 0 ? y(below[i]) : floor(),
                   to = y(bars.stacked ? below[i] + value : value);
      if (!std::isfinite(value)) missing_.push_back(at);
      if (!std::isfinite(to)) continue;
      add(out_.blocks, "{0} {1} {2} {3} {1} {4}\n", number(at), number(from), number(at - 0.47 * width),
          number(at + 0.47 * width), number(to));
      any = true;
      if (bars.stacked) below[i] += value;
      const ErrorBar error = error_bar(group, i);
      const double low = y(value - error.below), high = y(value + error.above);
      if (error.below + error.above > 0 && std::isfinite(high))
        add(whiskers, "{} {} 0 {}\n", number(at), number(std::isfinite(low) ? low : floor()),
            number(high - (std::isfinite(low) ? low : floor())));
    }
    end_block();
    if (!bars.stacked) offset += width;
    if (!any) continue;
    element("{} using 1:2:3:4:5:6 with boxxyerror fillcolor rgb {} fillstyle solid {} noborder notitle", data,
            colour(*group.colour), number(kBarOpacity));
    if (whiskers.empty()) continue;
    const std::string errors = block();
    out_.blocks += whiskers;
    end_block();
    element(
        "{} using 1:2:3:4 with vectors heads size screen 0.003,90 linewidth 1.2 linecolor rgb {} "
        "notitle",
        errors, colour(colours::text));
  }
}

void Writer::whiskers(const Series& series) {
  std::string bars;
  for (size_t i = 0; i < series.x.size(); ++i) {
    const ErrorBar error = error_bar(series, i);
    const double at = x(series.x[i]), low = y(series.y[i] - error.below), high = y(series.y[i] + error.above);
    if (error.below + error.above <= 0 || !std::isfinite(at) || !std::isfinite(high)) continue;
    const double from = std::isfinite(low) ? low : layout_.range.y.low;
    add(bars, "{} {} 0 {}\n", number(at), number(from), number(high - from));
  }
  if (bars.empty()) return;
  const std::string data = block();
  out_.blocks += bars;
  end_block();
  element("{} using 1:2:3:4 with vectors heads size screen 0.003,90 linewidth 1 linecolor rgb {} notitle",
          data, colour(*series.colour));
}

void Writer::operator()(const Lines& lines) {
  for (const Series& whole : lines.series) {
    require(whole.x.size() == whole.y.size(), "series \"", whole.label, "\": ", whole.x.size(), " x and ",
            whole.y.size(), " y values");
    const Series series = thinned(whole, layout_.plot.width);
    const std::string data = block();
    const double room = layout_.plot.width / static_cast<double>(std::max<size_t>(1, series.x.size()));
    constexpr double with_gap = 4;  // pixels; narrower bars and their gaps make stripes
    const bool stepped = series.stroke == Stroke::impulses && room < with_gap && series.x.size() > 1;
    const bool any = stepped ? area(series) : curve(series);
    end_block();
    if (!any) continue;
    whiskers(series);
    const std::string line = fmt::format("linewidth {} linecolor rgb {}",
                                         number(theme_.line_width * series.width), colour(*series.colour));
    if (stepped) {
      element("{} using 1:2:3 with filledcurves fillcolor rgb {} fillstyle solid 1 noborder notitle", data,
              colour(*series.colour));
    } else if (series.stroke == Stroke::impulses) {
      element("{} using 1:2:3:4 with vectors nohead linewidth {} linecolor rgb {} notitle", data,
              number(std::clamp(0.7 * room, 1.5, 14.0)), colour(*series.colour));
    } else if (series.stroke != Stroke::points) {
      element("{} using 1:2 with lines {}{} notitle", data, line,
              series.stroke == Stroke::dashed ? " dashtype (12,7)" : "");
    }
    if (const Marker marker = drawn_marker(series); marker != Marker::none)
      element("{} using 1:2 with points {} linecolor rgb {} notitle", data, shape(marker),
              colour(*series.colour));
  }
}

void Writer::operator()(const Reference& line) {
  const bool flat = line.direction == Reference::Direction::horizontal;
  const double at = flat ? y(line.at) : x(line.at);
  const Range& range = flat ? layout_.range.y : layout_.range.x;
  if (!(at >= range.low && at <= range.high)) return;
  const std::string where = number(at);
  add(out_.settings, "set arrow from {} to {} nohead front linewidth 1.6 dashtype (12,7) linecolor rgb {}\n",
      flat ? "graph 0, first " + where : "first " + where + ", graph 0",
      flat ? "graph 1, first " + where : "first " + where + ", graph 1", colour(*line.colour));
}

void Writer::missing() {
  if (missing_.empty()) return;
  const std::string data = block();
  for (const double at : missing_) add(out_.blocks, "{} {}\n", number(at), number(layout_.range.y.low));
  end_block();
  element("{} using 1:2 with points {} linecolor rgb {} notitle", data, kMissing, colour(colours::missing));
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.8g}", value) : "NaN";
}

std::string colour(Colour value) {
  return fmt::format("'#{:06x}'", value.rgb);
}

PanelScript panel_script(const PanelLayout& panel, const Theme& theme, const std::string& name) {
  Writer writer(panel, theme, name);
  for (const Mark& mark : panel.panel.marks) std::visit(writer, mark);
  writer.missing();
  return writer.take();
}

}  // namespace kvviz::plot
