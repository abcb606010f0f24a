// SPDX-License-Identifier: MIT
#include "kvviz/plot/render.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <string_view>
#include <thread>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/plot/gnuplot.hpp"

namespace kvviz::plot {
namespace {

/// A picture that was cut short (full disk, killed process) lacks its last bytes.
bool is_complete(std::string_view picture, Format format) {
  const std::string_view end = format == Format::png   ? "IEND\xae\x42\x60\x82"
                               : format == Format::svg ? "</svg>"
                                                       : "%%EOF";
  return picture.substr(picture.size() > 32 ? picture.size() - 32 : 0).find(end) != std::string_view::npos;
}

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

/// gnuplot's SVG in `width` pixels. It names the font "Family:Bold", which no reader knows, and no family to
/// fall back on; and readers blur the cells of heat maps unless told otherwise.
std::string portable_svg(std::string svg, const std::string& family, double width) {
  double pixel = 0;                                                // of a unit
  for (const std::string_view side : {"width=\"", "height=\""}) {  // of the picture, whose viewBox stays
    const size_t begin = svg.find(side);
    if (begin == std::string::npos) continue;
    const size_t first = begin + side.size(), end = svg.find('"', first);
    const int units = std::stoi(svg.substr(first, end - first));
    if (pixel == 0) pixel = width / units;
    svg.replace(first, end - first, fmt::format("{:.0f}", pixel * units));
  }
  const std::string families = "font-family=\"" + family + ", Verdana, sans-serif\"";
  replace_all(svg, "font-family=\"" + family + ":Bold\"", families + " font-weight=\"bold\"");
  replace_all(svg, "font-family=\"" + family + "\"", families);
  replace_all(svg, "preserveAspectRatio='none'",
              "preserveAspectRatio='none' style='image-rendering:crisp-edges;image-rendering:pixelated'");
  return svg;
}

/// A figure has no date: the same one gives the same bytes.
std::string dateless_pdf(std::string pdf) {
  constexpr std::string_view key = "/CreationDate (D:", date = "19700101000000";
  for (size_t at = pdf.find(key); at != std::string::npos; at = pdf.find(key, at + key.size()))
    if (pdf.size() > at + key.size() + date.size()) pdf.replace(at + key.size(), date.size(), date);
  return pdf;
}

void draw(const RenderJob& job, const std::filesystem::path& target, const Theme& theme,
          const RenderOptions& options) {
  const std::string script = gnuplot_script(job.figure, theme, options.canvas);
  if (options.keep_scripts) write_file(job.file.string() + ".gp", script);
  AtomicFile file(target);
  const GnuplotRun run = run_gnuplot(options.gnuplot, script, file.temporary());
  const bool failed = run.exit_code != 0;
  const std::string picture = read_file(file.temporary());
  if (failed || !is_complete(picture, options.canvas.format)) {
    const std::string reason = reason_against_writing(file.temporary());
    require(reason.empty(), "cannot write ", target.string(), ": ", reason);
    require<DrawError>(!failed, "gnuplot failed on ", target.string(), " (",
                       run.exit_code < 0 ? cat("signal ", -run.exit_code) : cat("exit code ", run.exit_code),
                       "): ", run.messages);
    throw DrawError(cat("gnuplot wrote no complete picture to ", target.string(),
                        " (is it without this format? install gnuplot-nox)", run.messages.empty() ? "" : ": ",
                        run.messages));
  }
  if (options.canvas.format == Format::svg)
    write_file(target, portable_svg(picture, theme.font, job.figure.width * options.canvas.scale));
  else if (options.canvas.format == Format::pdf)
    write_file(target, dateless_pdf(picture));
  else
    file.commit();
}

}  // namespace

std::filesystem::path picture_file(const RenderJob& job, Format format) {
  return job.file.string() + '.' + extension(format);
}

std::vector<std::filesystem::path> render(std::span<const RenderJob> jobs, const Theme& theme,
                                          const RenderOptions& options) {
  require<UsageError>(options.canvas.scale >= 0.2 && options.canvas.scale <= 10, "plot scale ",
                      options.canvas.scale, " is outside 0.2 .. 10");
  std::vector<std::filesystem::path> files;
  for (const RenderJob& job : jobs) files.push_back(picture_file(job, options.canvas.format));
  std::vector<std::exception_ptr> errors(jobs.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < jobs.size(); i = next++) {
      try {
        draw(jobs[i], files[i], theme, options);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  };
  const size_t wanted = options.processes > 0 ? static_cast<size_t>(options.processes)
                                              : std::max(1u, std::thread::hardware_concurrency());
  {
    std::vector<std::jthread> workers;
    for (size_t i = 1; i < std::min(wanted, jobs.size()); ++i) workers.emplace_back(work);
    work();
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return files;
}

}  // namespace kvviz::plot
