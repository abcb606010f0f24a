// SPDX-License-Identifier: MIT
#include "kvviz/plot/render.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/plot/gnuplot.hpp"

namespace fs = std::filesystem;
using namespace kvviz::plot;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// A folder of this process, removed at the end; also its working folder meanwhile.
class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() / ("kvviz-plot-" + std::to_string(getpid()))),
        before_(fs::current_path()) {
    fs::create_directories(path_);
    fs::current_path(path_);
  }
  ~Folder() {
    fs::current_path(before_);
    fs::remove_all(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const fs::path& path() const { return path_; }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
  }

 private:
  fs::path path_, before_;
};

struct Size {
  uint32_t width = 0, height = 0;
};

/// Size of a PNG from its header; 0 x 0 for anything else.
Size png_size(const fs::path& file) {
  const std::string bytes = kvviz::read_file(file);
  if (bytes.size() < 24 || bytes.substr(1, 3) != "PNG" || bytes.substr(12, 4) != "IHDR") return {};
  const auto number = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = at; i < at + 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return value;
  };
  return {number(16), number(20)};
}

Figure small_figure(const std::string& title) {
  Figure figure;
  figure.title = title;
  figure.width = 500, figure.height = 300;
  Panel panel;
  panel.x = {.label = "x"};
  panel.marks.emplace_back(Lines{{{"a", {0, 1, 2}, {1, kNan, 3}}}});
  figure.panels = {panel};
  return figure;
}

/// One figure with the text in every place that takes one.
Figure figure_of(const std::string& text) {
  Figure figure;
  figure.width = 700, figure.height = 500;
  figure.columns = 2;
  figure.title = figure.subtitle = figure.caption = text;
  Panel lines;
  lines.title = lines.note = lines.x.label = lines.y.label = text;
  lines.x.names = {text, text};
  lines.marks.emplace_back(Lines{{{text, {0, 1}, {1, 2}}}});
  lines.marks.emplace_back(Reference{.at = 1.5, .label = text});
  lines.marks.emplace_back(Note{0, 1, text});
  Panel cells;
  cells.marks.emplace_back(
      Heatmap{.z = {1, 2, 3, kNan}, .rows = 2, .cols = 2, .z_label = text, .nothing_label = text});
  cells.y.names = {text, text};
  figure.panels = {lines, cells};
  return figure;
}

}  // namespace

TEST_CASE("[render] png, svg and pdf of the stated size; nothing else is left behind") {
  const Folder folder;
  const std::vector<RenderJob> jobs{{folder.path() / "sub.folder/a", small_figure("a")},
                                    {folder.path() / "b", small_figure("b")}};
  RenderOptions options;
  options.processes = 2;
  const auto png = render(jobs, {}, options);
  REQUIRE(png.size() == 2);
  CHECK(png[0] == folder.path() / "sub.folder/a.png");
  CHECK(png_size(png[0]).width == 500);
  CHECK(png_size(png[1]).height >= 300);
  options.canvas.scale = 0.5;
  CHECK(png_size(render(jobs, {}, options)[0]).width == 250);
  options.canvas = {Format::svg, 1};
  const std::string svg = kvviz::read_file(render(jobs, {}, options)[1]);
  CHECK(svg.find("width=\"500\" height=\"3") != std::string::npos);
  options.canvas.scale = 2;  // of the picture; its units stay
  const std::string large = kvviz::read_file(render(jobs, {}, options)[1]);
  CHECK(large.find("width=\"1000\"") != std::string::npos);
  CHECK(large.substr(large.find("viewBox")) == svg.substr(svg.find("viewBox")));
  CHECK(svg.find("font-weight=\"bold\"") != std::string::npos);
  CHECK(svg.find(":Bold") == std::string::npos);
  options.canvas = {Format::pdf, 1};
  CHECK(kvviz::read_file(render(jobs, {}, options)[1]).starts_with("%PDF"));
  CHECK(folder.files() == 4);  // sub.folder, b.png, b.svg, b.pdf
}

TEST_CASE("[render] the same figure gives the same bytes") {
  const Folder folder;
  const std::vector<RenderJob> jobs{{folder.path() / "a", small_figure("t")},
                                    {folder.path() / "b", small_figure("t")}};
  const auto files = render(jobs, {}, {});
  CHECK(kvviz::read_file(files[0]) == kvviz::read_file(files[1]));
}

TEST_CASE("[render] kept scripts draw the same picture") {
  const Folder folder;
  const std::vector<RenderJob> jobs{{folder.path() / "a", small_figure("t")}};
  RenderOptions options;
  options.keep_scripts = true;
  const auto files = render(jobs, {}, options);
  const std::string script = kvviz::read_file(folder.path() / "a.gp");
  CHECK(script == gnuplot_script(jobs[0].figure, {}, {}));
  CHECK(run_gnuplot("gnuplot", script, folder.path() / "again.png").exit_code == 0);
  CHECK(kvviz::read_file(folder.path() / "again.png") == kvviz::read_file(files[0]));
}

TEST_CASE("[render] no text can reach the script's syntax") {
  const Folder folder;
  const std::string touch = "system('touch pwned')";
  std::vector<RenderJob> jobs;
  for (const std::string& text : {"\"; " + touch + " #",
                                  "'; " + touch + "; '",
                                  "''; " + touch + " ''",
                                  "\\'; " + touch + " #",
                                  std::string("`touch pwned`"),
                                  std::string("$(touch pwned)"),
                                  "@" + touch,
                                  std::string("%s%n%d%%"),
                                  std::string("{/:Bold x}_2^3"),
                                  std::string("}"),
                                  std::string("{"),
                                  std::string("\\"),
                                  std::string("'"),
                                  std::string("\""),
                                  std::string("\\n"),
                                  "a\n" + touch + "\n",
                                  "EOD\n" + touch,
                                  std::string("EOD"),
                                  std::string("\0", 1),
                                  std::string("a\0'; ", 5) + touch,
                                  std::string("<script>&amp;&"),
                                  std::string("\xff\xfe'\xc3"),
                                  std::string("\u202e"),
                                  std::string("中文 über ␣"),
                                  std::string("#"),
                                  std::string("!touch pwned"),
                                  std::string("\r!touch pwned\r"),
                                  std::string(3000, 'w')})
    jobs.push_back({folder.path() / std::to_string(jobs.size()), figure_of(text)});
  for (const Format format : {Format::png, Format::svg}) {
    RenderOptions options;
    options.canvas = {format, 1};
    CHECK(render(jobs, {}, options).size() == jobs.size());
    CHECK(!fs::exists(folder.path() / "pwned"));
  }
  const std::string svg = kvviz::read_file(folder.path() / "7.svg");
  CHECK(svg.find("%s%n%d%%") != std::string::npos);
  CHECK(kvviz::read_file(folder.path() / "20.svg").find("<script>") == std::string::npos);
}

TEST_CASE("[render] values that are not finite, empty marks and extreme values draw without an error") {
  const Folder folder;
  const double inf = std::numeric_limits<double>::infinity();
  std::vector<RenderJob> jobs;
  const auto add = [&](Mark mark) {
    for (const Scale scale : {Scale::linear, Scale::log10}) {
      Figure figure = small_figure("t");
      figure.panels[0].y.scale = scale;
      figure.panels[0].marks = {mark};
      jobs.push_back({folder.path() / std::to_string(jobs.size()), figure});
    }
  };
  add(Lines{});
  add(Lines{{{"a", {}, {}}}});
  add(Lines{{{"a", {0, 1}, {kNan, kNan}}}});
  add(Lines{{{"a", {0, kNan, 2}, {inf, 1, -inf}}}});
  add(Lines{{{"a", {0, 1}, {1e300, -1e300}}}});
  add(Lines{{{"a", {0, 1}, {1e-300, 1e-300}, {}, Stroke::impulses}}});
  add(Bars{});
  add(Bars{{{"a", {kNan, 0}}}});
  add(Bars{{{"a", {1, 2}, {0.5, kNan}}, {"b", {-1, 3}}}});
  add(Bars{{{"a", {1, 2}}, {"b", {kNan, 3}}}, true});
  add(Histogram{});
  add(Histogram{{0, 1, 2}, {{"a", {0, 5}}}});
  add(Band{"a", {0, 1, 2}, {0, kNan, 0}, {1, 1, inf}});
  add(Reference{.at = kNan});
  add(Note{0, inf, "x"});
  for (const int rows : {1, 2})
    for (const int cols : {1, 3}) {
      const size_t count = static_cast<size_t>(rows * cols);
      add(Heatmap{.z = std::vector<double>(count, kNan), .rows = rows, .cols = cols, .z_label = "z"});
      add(Heatmap{.z = std::vector<double>(count, 5),
                  .rows = rows,
                  .cols = cols,
                  .z_label = "z",
                  .z_scale = Scale::log10});
      add(Heatmap{.z = std::vector<double>(count, -1),
                  .rows = rows,
                  .cols = cols,
                  .z_label = "z",
                  .z_scale = Scale::log10,
                  .threshold = 0.5});
      add(Heatmap{.z = std::vector<double>(count, inf),
                  .rows = rows,
                  .cols = cols,
                  .z_label = "z",
                  .map = ColourMap::diverging});
    }
  for (const auto& file : render(jobs, {}, {})) CHECK(png_size(file).width == 500);
}

TEST_CASE("[render] a missing or failing gnuplot is a data error that helps") {
  const Folder folder;
  const std::vector<RenderJob> jobs{{folder.path() / "a", small_figure("t")}};
  RenderOptions options;
  options.gnuplot = "no-such-gnuplot";
  CHECK_THROWS_WITH_AS(render(jobs, {}, options), doctest::Contains("install gnuplot-nox"), kvviz::DataError);
  options.gnuplot = "false";
  CHECK_THROWS_WITH_AS(render(jobs, {}, options), doctest::Contains("exit code 1"), kvviz::DataError);
  options.gnuplot = "true";
  CHECK_THROWS_WITH_AS(render(jobs, {}, options), doctest::Contains("no complete picture"), kvviz::DataError);
  CHECK(folder.files() == 0);
  const GnuplotRun run = run_gnuplot("gnuplot", "this is no command\n", folder.path() / "x");
  CHECK(run.exit_code == 1);
  CHECK(run.messages.find("invalid command") != std::string::npos);
}

TEST_CASE("[render] an old picture survives a failure") {
  const Folder folder;
  kvviz::write_file(folder.path() / "a.png", "old");
  const std::vector<RenderJob> jobs{{folder.path() / "a", small_figure("t")}};
  RenderOptions options;
  options.gnuplot = "false";
  CHECK_THROWS_AS(render(jobs, {}, options), kvviz::DataError);
  CHECK(kvviz::read_file(folder.path() / "a.png") == "old");
}

TEST_CASE("[render] figures beside a failing one are still drawn") {
  const Folder folder;
  Figure wrong = small_figure("t");
  wrong.panels.clear();
  const std::vector<RenderJob> jobs{{folder.path() / "a", wrong}, {folder.path() / "b", small_figure("b")}};
  CHECK_THROWS_AS(render(jobs, {}, {}), kvviz::DataError);
  CHECK(png_size(folder.path() / "b.png").width == 500);
}

TEST_CASE("[render] options out of range and unwritable folders are told apart") {
  const Folder folder;
  const std::vector<RenderJob> jobs{{folder.path() / "a", small_figure("t")}};
  RenderOptions options;
  for (const double scale : {0.0, -1.0, 11.0, kNan}) {
    options.canvas.scale = scale;
    CHECK_THROWS_AS(render(jobs, {}, options), kvviz::UsageError);
  }
  kvviz::write_file(folder.path() / "file", "x");
  const std::vector<RenderJob> blocked{{folder.path() / "file/a", small_figure("t")}};
  CHECK_THROWS_AS(render(blocked, {}, {}), kvviz::DataError);
  CHECK_THROWS_WITH_AS(parse_format("jpeg"), doctest::Contains("png, svg or pdf"), kvviz::UsageError);
  CHECK(parse_format("pdf") == Format::pdf);
}
