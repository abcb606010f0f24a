// SPDX-License-Identifier: MIT
#include "kvviz/plot/script.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <locale>
#include <string>

#include "kvviz/core/error.hpp"

using namespace kvviz::plot;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// A design pixel is one of the picture.
const Theme plain = [] {
  Theme theme;
  theme.scale = 1;
  return theme;
}();

Figure line_figure() {
  Panel panel;
  panel.title = "Lines";
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "share"};
  panel.marks.emplace_back(Lines{{{"keys", {0, 1, 2}, {0.5, kNan, 1.5}, colours::key}}});
  panel.marks.emplace_back(Reference{.at = 1, .label = "one"});
  panel.marks.emplace_back(Note{2, 1.5, "top"});
  Figure figure;
  figure.title = "It's 50 %";
  figure.width = 400, figure.height = 300;
  figure.panels = {panel};
  return figure;
}

Figure heat_figure() {
  Panel panel;
  panel.x = {.label = "head", .whole = true};
  panel.y = {.label = "layer", .whole = true};
  panel.marks.emplace_back(
      Heatmap{.z = {0, 0.25, kNan, 1}, .rows = 2, .cols = 2, .z_label = "share", .threshold = 0.5});
  Figure figure;
  figure.width = 400, figure.height = 300;
  figure.panels = {panel};
  return figure;
}

Figure bar_figure() {
  Panel panel;
  panel.x = {.label = "stage", .names = {"a%", "b"}};
  panel.y = {.label = "bytes", .scale = Scale::log10};
  panel.marks.emplace_back(Bars{{{"K", {10, 1000}, {1, kNan}}}});
  Figure figure;
  figure.width = 400, figure.height = 300;
  figure.panels = {panel};
  return figure;
}

// clang-format off
const std::string kLineScript = R"gp(set terminal pngcairo size 400,300 fontscale 0.75 pointscale 1 noenhanced font "DejaVu Sans,13.5" background rgb 'white' linewidth 1
point = 1
set encoding utf8
set multiplot
$p0_0 << EOD
0 0.5

2 1.5
EOD
$p0_1 << EOD
1 0.45
EOD
reset
set samples 2
unset key
set border 3 front linewidth 1 linecolor rgb '#555555'
set lmargin at screen 0.18241
set rmargin at screen 0.935
set bmargin at screen 0.20792
set tmargin at screen 0.681
set xrange [-0.5:2.5]
set yrange [0.45:1.55]
set tics out nomirror scale 0.5 font ',13.5' textcolor rgb '#222222'
set xtics ("0" 0, "1" 1, "2" 2)
set ytics ("0.5" 0.5, "1" 1, "1.5" 1.5)
set grid xtics ytics back linetype 1 linewidth 1 linecolor rgb '#e3e3e3'
unset colorbox
set arrow from graph 0, first 1 to graph 1, first 1 nohead front linewidth 1.6 dashtype (12,7) linecolor rgb '#777777'
set label "Lines" at screen 0.18241, screen 0.79867 left front font "DejaVu Sans:Bold,16" textcolor rgb '#222222'
set label "keys" at screen 0.26241, screen 0.73583 left front font "DejaVu Sans,13" textcolor rgb '#222222'
set label "one" at screen 0.47239, screen 0.73583 left front font "DejaVu Sans,13" textcolor rgb '#222222'
set label "no value" at screen 0.66787, screen 0.73583 left front font "DejaVu Sans,13" textcolor rgb '#222222'
set label "layer" at screen 0.55871, screen 0.079167 center front font "DejaVu Sans,15" textcolor rgb '#222222'
set label "share" at screen 0.059375, screen 0.44446 center rotate by 90 front font "DejaVu Sans,15" textcolor rgb '#222222'
set label "top" at screen 0.83457, screen 0.6595 left front font "DejaVu Sans,13" textcolor rgb '#222222'
set arrow from screen 0.18241, screen 0.73583 to screen 0.24741, screen 0.73583 nohead front linewidth 2 linecolor rgb '#0072b2'
set label '' at screen 0.21491, screen 0.73583 point pointtype 7 pointsize 0.7*point linecolor rgb '#0072b2' front
set arrow from screen 0.39239, screen 0.73583 to screen 0.45739, screen 0.73583 nohead front linewidth 2 dashtype (7,4) linecolor rgb '#777777'
set label '' at screen 0.62037, screen 0.73583 point pointtype 2 pointsize 1*point linewidth 2 linecolor rgb '#555555' front
plot $p0_0 using 1:2 with lines linewidth 1.8 linecolor rgb '#0072b2' notitle, \
     $p0_0 using 1:2 with points pointtype 7 pointsize 0.7*point linecolor rgb '#0072b2' notitle, \
     $p0_1 using 1:2 with points pointtype 2 pointsize 1*point linewidth 2 linecolor rgb '#555555' notitle, \
     NaN notitle
reset
set samples 2
unset key
unset border
unset tics
set margins screen 0, screen 1, screen 0, screen 1
set xrange [0:1]
set yrange [0:1]
set label "It\047s 50 %" at screen 0.5, screen 0.91 center front font "DejaVu Sans:Bold,20" textcolor rgb '#222222'
plot NaN notitle
unset multiplot
)gp";

const std::string kHeatScript = R"gp(set terminal pngcairo size 400,300 fontscale 0.75 pointscale 1 noenhanced font "DejaVu Sans,13.5" background rgb 'white' linewidth 1
point = 1
set encoding utf8
set multiplot
$p0_0 << EOD
2 0 1
0 0.000 0.250
1 NaN 1.000
EOD
$p0_1 << EOD
0 0 0.00 16777215
1 0 0.25 16777215
1 1 1.00 0
EOD
$p0_2 << EOD
0.5 0.5 0 1
0.5 0.5 1 0
1.5 0.5 0 1
0.5 1.5 1 0
EOD
reset
set samples 2
unset key
set border 15 front linewidth 1 linecolor rgb '#555555'
set lmargin at screen 0.15021
set rmargin at screen 0.75759
set bmargin at screen 0.20792
set tmargin at screen 0.837
set xrange [-0.5:1.5]
set yrange [1.5:-0.5]
set tics out nomirror scale 0.5 font ',13.5' textcolor rgb '#222222'
set xtics ("0" 0, "1" 1)
set ytics ("0" 0, "1" 1)
set colorbox user origin screen 0.78759, screen 0.20792 size screen 0.04, screen 0.62908 front
set cbtics ("0" 0, "0.5" 0.5, "1" 1)
set arrow from screen 0.77759, screen 0.52246 to screen 0.83759, screen 0.52246 nohead front linewidth 3 linecolor rgb '#ff3366'
set palette maxcolors 0 defined (0 '#440154', 1 '#48186a', 2 '#472d7b', 3 '#424086', 4 '#3b528b', 5 '#33638d', 6 '#2c728e', 7 '#26828e', 8 '#21918c', 9 '#1fa088', 10 '#28ae80', 11 '#3fbc73', 12 '#5ec962', 13 '#84d44b', 14 '#addc30', 15 '#d8e219', 16 '#fde725')
set cbrange [0:1]
set object rectangle from graph 0,0 to graph 1,1 behind fillcolor rgb '#b8b8b8' fillstyle solid noborder
set label "no value" at screen 0.23022, screen 0.89183 left front font "DejaVu Sans,13" textcolor rgb '#222222'
set label "head" at screen 0.4539, screen 0.079167 center front font "DejaVu Sans,15" textcolor rgb '#222222'
set label "layer" at screen 0.059375, screen 0.52246 center rotate by 90 front font "DejaVu Sans,15" textcolor rgb '#222222'
set label "share" at screen 0.94063, screen 0.52246 center rotate by 90 front font "DejaVu Sans,15" textcolor rgb '#222222'
set object rectangle from screen 0.16522, screen 0.87517 to screen 0.21521, screen 0.9085 front fillcolor rgb '#b8b8b8' fillstyle solid 1 border linecolor rgb '#777777'
plot $p0_0 nonuniform matrix using 1:2:3 with image notitle, \
     $p0_1 using 1:2:3:4 with labels textcolor rgb variable font ',13.5' notitle, \
     $p0_2 using 1:2:3:4 with vectors nohead linewidth 2 linecolor rgb '#ff3366' notitle, \
     NaN notitle
reset
set samples 2
unset key
unset border
unset tics
set margins screen 0, screen 1, screen 0, screen 1
set xrange [0:1]
set yrange [0:1]
plot NaN notitle
unset multiplot
)gp";

const std::string kBarScript = R"gp(set terminal svg size 400,300 fontscale 1 noenhanced font "DejaVu Sans,13.5" background rgb 'white' linewidth 1
point = 0.59259259
set encoding utf8
set multiplot
$p0_0 << EOD
0 0.53695463 -0.376 0.376 0.53695463 1
1 0.53695463 0.624 1.376 0.53695463 3
EOD
$p0_1 << EOD
0 0.95424251 0 0.087150176
EOD
reset
set samples 2
unset key
set border 3 front linewidth 1 linecolor rgb '#555555'
set lmargin at screen 0.21461
set rmargin at screen 0.935
set bmargin at screen 0.20792
set tmargin at screen 0.837
set xrange [-0.5:1.5]
set yrange [0.53695463:3.1172879]
set tics out nomirror scale 0.5 font ',13.5' textcolor rgb '#222222'
set xtics offset 0,0.28 ("a%%" 0, "b" 1)
set ytics ("5" 0.69897, "10" 1, "20" 1.30103, "50" 1.69897, "100" 2, "200" 2.30103, "500" 2.69897, "1000" 3)
set grid xtics ytics back linetype 1 linewidth 1 linecolor rgb '#e3e3e3'
unset colorbox
set label "K" at screen 0.29461, screen 0.89183 left front font "DejaVu Sans,13" textcolor rgb '#222222'
set label "stage" at screen 0.57481, screen 0.079167 center front font "DejaVu Sans,15" textcolor rgb '#222222'
set label "bytes" at screen 0.059375, screen 0.52246 center rotate by 90 front font "DejaVu Sans,15" textcolor rgb '#222222'
set object rectangle from screen 0.22961, screen 0.87517 to screen 0.27961, screen 0.9085 front fillcolor rgb '#0072b2' fillstyle solid 0.85 noborder
plot $p0_0 using 1:2:3:4:5:6 with boxxyerror fillcolor rgb '#0072b2' fillstyle solid 0.85 noborder notitle, \
     $p0_1 using 1:2:3:4 with vectors heads size screen 0.003,90 linewidth 1.2 linecolor rgb '#222222' notitle, \
     NaN notitle
reset
set samples 2
unset key
unset border
unset tics
set margins screen 0, screen 1, screen 0, screen 1
set xrange [0:1]
set yrange [0:1]
plot NaN notitle
unset multiplot
)gp";
// clang-format on

struct CommaPoint : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

}  // namespace

TEST_CASE("[script] byte for byte: lines with a gap, a reference and a note; PNG") {
  CHECK(gnuplot_script(line_figure(), plain, {}) == kLineScript);
}

TEST_CASE("[script] byte for byte: cells with numbers, a threshold and a missing value; PNG") {
  CHECK(gnuplot_script(heat_figure(), plain, {}) == kHeatScript);
}

TEST_CASE("[script] byte for byte: bars with an error bar on a logarithmic axis; SVG") {
  CHECK(gnuplot_script(bar_figure(), plain, {Format::svg, 1}) == kBarScript);
}

TEST_CASE("[script] the locale changes nothing") {
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new CommaPoint));
  const std::string script = gnuplot_script(line_figure(), plain, {});
  std::locale::global(before);
  CHECK(script == kLineScript);
}

TEST_CASE("[script] format and scale change the terminal line only") {
  const auto body = [](const std::string& script) { return script.substr(script.find('\n')); };
  const std::string png = gnuplot_script(line_figure(), plain, {}),
                    pdf = gnuplot_script(line_figure(), plain, {Format::pdf, 1.5});
  CHECK(body(png) == body(pdf));
  // 600 x 450 pixels of 1,500 to 7 inches; 13.5 pixels of 0.504 pt are fonts of 6.8 pt.
  CHECK(
      pdf.starts_with("set terminal pdfcairo size 2.8in,2.1in fontscale 0.378 pointscale 0.504 noenhanced "
                      "font \"DejaVu Sans,13.5\" background rgb 'white' linewidth 1.008\n"));
  CHECK(gnuplot_script(line_figure(), plain, {Format::png, 1.37})
            .starts_with("set terminal pngcairo size 548,411 "));
}

TEST_CASE("[script] a text scale keeps the picture's width and enlarges text, points and lines") {
  const std::string script = gnuplot_script(line_figure(), plain, {Format::png, 1, 1.25});
  CHECK(script.starts_with("set terminal pngcairo size 400,"));
  CHECK(script.find(" fontscale 0.9375 pointscale 1.25 ") != std::string::npos);
  CHECK(script.find(" linewidth 1.25\n") != std::string::npos);
  CHECK(gnuplot_script(line_figure(), {}, {}) ==
        gnuplot_script(line_figure(), plain, {Format::png, 1, Theme{}.scale}));
}

TEST_CASE("[script] marks that contradict themselves are refused") {
  const auto script_of = [](Mark mark) {
    Figure figure = line_figure();
    figure.panels[0].marks = {std::move(mark)};
    return gnuplot_script(figure, {}, {});
  };
  CHECK_THROWS_AS(script_of(Lines{{{"a", {1, 2}, {1}}}}), kvviz::DataError);
  CHECK_THROWS_AS(script_of(Heatmap{.z = {1, 2, 3}, .rows = 2, .cols = 2}), kvviz::DataError);
  CHECK_THROWS_AS(script_of(Heatmap{}), kvviz::DataError);
  CHECK_THROWS_AS(script_of(Band{"a", {1}, {1, 2}, {1}}), kvviz::DataError);
  CHECK_THROWS_AS(script_of(Histogram{{1, 2}, {{"a", {1, 2}}}}), kvviz::DataError);
  CHECK_THROWS_WITH_AS(gnuplot_script(Figure{.title = "empty", .panels = {}}, {}, {}),
                       doctest::Contains("empty"), kvviz::DataError);
}

TEST_CASE("[script] numbers stand only on cells that are large enough") {
  const auto annotated = [](int rows, int cols) {
    Figure figure = heat_figure();
    figure.width = 1500, figure.height = 1000;
    Heatmap map{.z = std::vector<double>(static_cast<size_t>(rows) * static_cast<size_t>(cols), 0.5),
                .rows = rows,
                .cols = cols,
                .z_label = "z"};
    figure.panels[0].marks = {map};
    return gnuplot_script(figure, {}, {}).find("with labels") != std::string::npos;
  };
  CHECK(annotated(1, 1));
  CHECK(annotated(28, 8));
  CHECK(annotated(8, 28));
  CHECK(!annotated(80, 8));
  CHECK(!annotated(8, 64));
  CHECK(!annotated(126, 128));
}

TEST_CASE("[script] bars without room for gaps are one stepped area, broken where a value is missing") {
  const auto script = [](int bars) {
    Series series{"", {}, {}, Colour{0x0072b2}, Stroke::impulses};
    for (int i = 0; i < bars; ++i)
      series.x.push_back(i), series.y.push_back(i == 3 ? std::numeric_limits<double>::quiet_NaN() : 1);
    Panel panel;
    panel.marks = {Lines{{series}}};
    Figure figure;
    figure.panels = {panel};
    return gnuplot_script(figure, {}, {});
  };
  CHECK(script(20).find("with vectors nohead") != std::string::npos);
  const std::string area = script(500);
  CHECK(area.find("with vectors nohead") == std::string::npos);
  CHECK(area.find("1:2:3 with filledcurves") != std::string::npos);
  CHECK(area.find("-0.5 0 1\n0.5 0 1\n0.5 0 1\n1.5 0 1\n1.5 0 1\n2.5 0 1\n\n3.5 0 1\n") != std::string::npos);
}
