// SPDX-License-Identifier: MIT
#include "kvviz/plot/script.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "kvviz/core/error.hpp"
#include "kvviz/plot/layout.hpp"
#include "kvviz/plot/marks.hpp"
#include "kvviz/plot/notes.hpp"
#include "kvviz/plot/text.hpp"

namespace kvviz::plot {
namespace {

template <class... T>
void add(std::string& to, fmt::format_string<T...> format, T&&... values) {
  fmt::format_to(std::back_inserter(to), format, std::forward<T>(values)...);
}

/// What a terminal needs for a design pixel of the figure to be `pixel` pixels of the picture everywhere.
std::string terminal(const Figure& figure, const Theme& theme, Format format, double pixel) {
  const auto common = [&](double linewidth) {
    return fmt::format("noenhanced font {} background rgb 'white' linewidth {}",
                       quoted(fmt::format("{},{}", theme.font, number(theme.tick_size))), number(linewidth));
  };
  switch (format) {
    case Format::svg:  // its points and tick labels know no scale: render() enlarges the picture
      return fmt::format("svg size {},{} fontscale 1 {}\npoint = {}", figure.width, figure.height, common(1),
                         number(8 / theme.tick_size));
    case Format::pdf: {
      const double inch = pixel / kPdfPixels, pt = 72 * inch;
      return fmt::format("pdfcairo size {}in,{}in fontscale {} pointscale {} {}\npoint = 1",
                         number(figure.width * inch), number(figure.height * inch), number(0.75 * pt),
                         number(pt), common(2 * pt));
    }
    case Format::png:
      break;
  }
  return fmt::format("pngcairo size {:.0f},{:.0f} fontscale {} pointscale {} {}\npoint = 1",
                     figure.width * pixel, figure.height * pixel, number(0.75 * pixel), number(pixel),
                     common(pixel));
}

class Sheet {
 public:
  Sheet(const FigureLayout& layout, const Theme& theme, Format format)
      : layout_(layout), theme_(theme), format_(format) {}

  std::string x(double pixels) const { return fmt::format("{:.5g}", pixels / layout_.width); }
  std::string y(double pixels) const { return fmt::format("{:.5g}", pixels / layout_.height); }

  void text(std::string& out, const TextLine& line) const {
    static constexpr const char* kAlign[] = {"left", "center", "right"};
    const std::string font = fmt::format("{}{},{}", theme_.font, line.bold ? ":Bold" : "", number(line.size));
    add(out, "set label {} at screen {}, screen {} {}{} front font {} textcolor rgb {}{}\n",
        quoted(line.text), x(line.x), y(line.y), kAlign[static_cast<int>(line.align)],
        line.upright ? " rotate by 90" : "", quoted(font), colour(line.colour), line.opaque ? " boxed" : "");
  }

  void swatch(std::string& out, const PlacedLegend& placed) const {
    const double x0 = placed.x, x1 = placed.x + kSwatch, middle = placed.y;
    const std::string paint = colour(placed.entry.colour);
    const auto point = [&](const std::string& style) {
      add(out, "set label '' at screen {}, screen {} point {} linecolor rgb {} front\n", x((x0 + x1) / 2),
          y(middle), style, paint);
    };
    switch (placed.entry.swatch) {
      case Swatch::box:
        add(out,
            "set object rectangle from screen {}, screen {} to screen {}, screen {} front fillcolor rgb {} "
            "fillstyle solid {} {}\n",
            x(x0 + 6), y(middle - 5), x(x1), y(middle + 5), paint, number(placed.entry.opacity),
            placed.entry.outline ? fmt::format("border linecolor rgb {}", colour(*placed.entry.outline))
                                 : "noborder");
        break;
      case Swatch::missing:
        point(kMissing);
        break;
      case Swatch::points:
        break;
      default:
        add(out,
            "set arrow from screen {}, screen {} to screen {}, screen {} nohead front linewidth 2{} "
            "linecolor rgb {}\n",
            x(x0), y(middle), x(x1), y(middle),
            placed.entry.swatch == Swatch::dashed ? " dashtype (7,4)" : "", paint);
    }
    if (placed.entry.marker != Marker::none) point(shape(placed.entry.marker));
  }

  void ticks(std::string& out, const char* axis, const TickRow& row) const {
    const bool low =
        format_ == Format::svg && *axis == 'x';  // this terminal hangs them lower than the others
    add(out, "set {}tics {}(", axis, row.rotated ? "rotate by 90 right " : low ? "offset 0,0.28 " : "");
    for (size_t i = 0; i < row.ticks.size(); ++i)
      add(out, "{}{} {}", i > 0 ? ", " : "", quoted_tick(row.ticks[i].label), number(row.ticks[i].at));
    out += ")\n";
  }

  /// The threshold of a heat map, across its colour bar.
  void threshold(std::string& out, const PanelLayout& p) const {
    for (const Mark& mark : p.panel.marks) {
      const auto* map = std::get_if<Heatmap>(&mark);
      if (map == nullptr || !map->threshold) continue;
      const double place = (on_axis(*map->threshold, map->z_scale) - p.z.low) / (p.z.high - p.z.low);
      if (!(place >= 0 && place <= 1)) continue;
      const double at = p.colour_bar->y + place * p.colour_bar->height;
      add(out,
          "set arrow from screen {0}, screen {1} to screen {2}, screen {1} nohead front linewidth 3 "
          "linecolor rgb {3}\n",
          x(p.colour_bar->x - 4), y(at), x(p.colour_bar->x + p.colour_bar->width + 4), colour(colours::sink));
    }
  }

  /// The axes of a surface are shorter than the panel's sides, which the ticks were made for.
  static TickRow few(const TickRow& row) {
    constexpr size_t most = 8;
    TickRow thinned = row;
    thinned.ticks.clear();
    const size_t step = (row.ticks.size() + most - 1) / most;
    for (size_t i = 0; i < row.ticks.size(); i += step) thinned.ticks.push_back(row.ticks[i]);
    return thinned;
  }

  // More edges than these would blacken a surface.
  static constexpr double kMostEdged = 48;

  /// The axes of a surface: seen from the side of the last layer, so that the first stands in front of
  /// nothing.
  void space(std::string& out, const PanelLayout& p) const {
    const auto label = [&](const char* axis, const std::string& words, const char* turn) {
      add(out, "set {}label {} font ',{}' textcolor rgb {} {}\n", axis, quoted_tick(words),
          number(theme_.label_size), colour(colours::text), turn);
    };
    label("x", p.panel.x.label, "rotate parallel offset 0,-0.5");
    label("y", p.panel.y.label, "rotate parallel offset 0,-0.5");
    const bool edges = p.range.x.high - p.range.x.low <= kMostEdged &&
                       std::abs(p.range.y.high - p.range.y.low) <= kMostEdged;
    add(out,
        "set view 45, 35, 1.2, 1\nset xyplane at {}\nset xtics offset 0,-0.3\nset pm3d scansforward "
        "corners2color c1{}\n",
        number(p.z.low), edges ? " border linecolor rgb '#444444' linewidth 0.4" : "");
    add(out, "set border 31 linewidth 1 linecolor rgb '#555555'\nset zrange [{}:{}]\n", number(p.z.low),
        number(p.z.high));
    ticks(out, "z", p.z_ticks);
    if (const Heatmap* map = bar_of(p.panel)) label("z", map->z_label, "rotate by 90");
  }

  void panel(std::string& out, const PanelLayout& p, const std::string& name) const {
    const bool cells = std::any_of(p.panel.marks.begin(), p.panel.marks.end(),
                                   [](const Mark& mark) { return std::holds_alternative<Heatmap>(mark); });
    const bool surface = has_surface(p.panel);
    const PanelScript script = panel_script(p, theme_, name);
    out += script.blocks;
    out += "reset\nset samples 2\nunset key\n";
    add(out, "set border {} front linewidth 1 linecolor rgb '#555555'\n", cells ? 15 : 3);
    if (surface)
      add(out, "set origin {},{}\nset size {},{}\n", x(p.plot.x), y(p.plot.y), x(p.plot.width),
          y(p.plot.height));
    else
      add(out,
          "set lmargin at screen {}\nset rmargin at screen {}\nset bmargin at screen {}\nset tmargin at "
          "screen "
          "{}\n",
          x(p.plot.x), x(p.plot.x + p.plot.width), y(p.plot.y), y(p.plot.y + p.plot.height));
    add(out, "set xrange [{}:{}]\n", number(p.range.x.low), number(p.range.x.high));
    add(out, "set yrange [{}:{}]\n", number(cells ? p.range.y.high : p.range.y.low),
        number(cells ? p.range.y.low : p.range.y.high));
    add(out, "set tics out nomirror scale 0.5 font ',{}' textcolor rgb {}\n", number(theme_.tick_size),
        colour(colours::text));
    ticks(out, "x", surface ? few(p.x_ticks) : p.x_ticks);
    ticks(out, "y", surface ? few(p.y_ticks) : p.y_ticks);
    if (surface) space(out, p);
    if (!cells)
      add(out, "set grid xtics ytics back linetype 1 linewidth 1 linecolor rgb {}\n", colour(colours::grid));
    if (p.colour_bar) {
      add(out, "set colorbox user origin screen {}, screen {} size screen {}, screen {} front\n",
          x(p.colour_bar->x), y(p.colour_bar->y), x(p.colour_bar->width), y(p.colour_bar->height));
      ticks(out, "cb", p.z_ticks);
      threshold(out, p);
    } else {
      out += "unset colorbox\n";
    }
    out += script.settings;
    for (const Leader& leader : p.leaders)
      add(out,
          "set arrow from screen {}, screen {} to screen {}, screen {} nohead back linewidth 0.5 linecolor "
          "rgb {}\n",
          x(leader.x0), y(leader.y0), x(leader.x1), y(leader.y1), colour(colours::neutral));
    std::vector<TextLine> texts = p.texts;
    for (TextLine& note : place_notes(p, theme_)) texts.push_back(std::move(note));
    if (std::any_of(texts.begin(), texts.end(), [](const TextLine& line) { return line.opaque; }))
      out += "set style textbox opaque margins 0.4,0.4 fillcolor rgb 'white' noborder\n";
    for (const TextLine& line : texts) text(out, line);
    for (const PlacedLegend& entry : p.legend) swatch(out, entry);
    if (script.elements.empty())
      text(out,
           {p.panel.nothing, p.plot.x + p.plot.width / 2, p.plot.y + p.plot.height / 2, theme_.label_size});
    out += surface ? "splot " : "plot ";
    for (const std::string& element : script.elements) out += element + ", \\\n     ";
    out += "NaN notitle\n";
  }

 private:
  const FigureLayout& layout_;
  const Theme& theme_;
  const Format format_;
};

}  // namespace

Format parse_format(const std::string& name) {
  if (name == "png") return Format::png;
  if (name == "svg") return Format::svg;
  require<UsageError>(name == "pdf", "unknown figure format \"", name, "\"; expected png, svg or pdf");
  return Format::pdf;
}

const char* extension(Format format) {
  return format == Format::png ? "png" : format == Format::svg ? "svg" : "pdf";
}

std::string gnuplot_script(const Figure& given, const Theme& theme, const Canvas& canvas) {
  require(!given.panels.empty(), "figure \"", given.title, "\" has no panel");
  const Figure figure = with_text_scale(given, theme, theme.scale * canvas.text_scale);
  const FigureLayout layout = lay_out(figure, theme);
  const Sheet sheet(layout, theme, canvas.format);
  std::string out;
  add(out, "set terminal {}\nset encoding utf8\nset multiplot\n",
      terminal(figure, theme, canvas.format, given.width * canvas.scale / figure.width));
  for (size_t i = 0; i < layout.panels.size(); ++i) sheet.panel(out, layout.panels[i], fmt::format("p{}", i));
  out +=
      "reset\nset samples 2\nunset key\nunset border\nunset tics\nset margins screen 0, screen 1, screen 0, "
      "screen 1\nset "
      "xrange [0:1]\nset yrange [0:1]\n";
  for (const TextLine& line : layout.texts) sheet.text(out, line);
  for (const PlacedLegend& entry : layout.legend) sheet.swatch(out, entry);
  out += "plot NaN notitle\nunset multiplot\n";
  return out;
}

}  // namespace kvviz::plot
