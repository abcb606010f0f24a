// SPDX-License-Identifier: MIT
#include "kvviz/engine/deliver.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/byte_size.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/file_identity.hpp"
#include "kvviz/core/file_lock.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/plot/gnuplot.hpp"
#include "kvviz/plot/render.hpp"
#include "kvviz/report/annotations.hpp"
#include "kvviz/report/console.hpp"
#include "kvviz/report/junit.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

std::vector<FigureFile> draw(std::vector<figures::NamedFigure> figures, const OutputOptions& output) {
  std::vector<plot::RenderJob> jobs;
  for (auto& named : figures) jobs.push_back({output.out / "graphs" / named.file, std::move(named.figure)});
  plot::RenderOptions render;
  render.canvas = {plot::parse_format(output.format), output.plot_scale, output.text_scale};
  render.keep_scripts = output.keep_plot_scripts;
  render.processes = std::min(kernels::thread_count(), static_cast<int>(std::thread::hardware_concurrency()));
  std::vector<std::filesystem::path> files;
  try {
    files = plot::render(jobs, plot::Theme{}, render);
  } catch (const plot::DrawError&) {
    std::error_code ignored;  // neither some of the figures nor earlier ones pass for this result's
    for (const plot::RenderJob& job : jobs)
      std::filesystem::remove(plot::picture_file(job, render.canvas.format), ignored);
    throw;
  }
  std::vector<FigureFile> written;
  for (size_t i = 0; i < files.size(); ++i)
    written.push_back({files[i].lexically_relative(output.out).string(), jobs[i].figure.title});
  return written;
}

// What a report says of the run, from its provenance.
CheckReport report_of(const Result& result, std::vector<Check> checks) {
  CheckReport report{.command = result.command, .checks = std::move(checks), .properties = {}};
  const auto add = [&](const nlohmann::ordered_json& from, const char* key, const std::string& name) {
    if (const auto at = from.find(key); at != from.end() && at->is_string())
      report.properties.emplace_back(name, at->get<std::string>());
  };
  const auto& provenance = result.provenance;
  for (const char* key : {"model", "text", "version", "commit", "command_line", "a", "b"})
    add(provenance, key, key);
  for (const char* side : {"a", "b"})
    if (const auto at = provenance.find(cat("provenance_", side)); at != provenance.end())
      for (const char* key : {"model", "text", "version", "commit"}) add(*at, key, cat(key, '_', side));
  return report;
}

bool for_github(const OutputOptions& output) {
  const char* actions = std::getenv("GITHUB_ACTIONS");
  const bool there = actions != nullptr && std::string_view(actions) == "true";
  return output.annotations == "github" || (output.annotations == "auto" && there);
}

// Of two runs in one folder the later one's files are there, all of them.
FileLock alone_in(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(std::filesystem::is_directory(folder), "cannot make the folder ", folder.string(), ": ",
          error.message());
  int tenths = 0;
  const auto wait = [&] {
    if (++tenths == 10)
      std::fprintf(stderr, "kvviz: waiting for another run that writes to %s\n", folder.c_str());
  };
  return {folder, wait, WithoutLocks::go_on};
}

void print(const Result& result, const Delivery& delivery, const OutputOptions& output,
           const std::filesystem::path& json) {
  if (output.json == "-") {
    std::fputs(to_json(result).c_str(), stdout);
    return;
  }
  const ConsoleStyle style{.width = terminal_width(STDOUT_FILENO),
                           .max_rows = delivery.shown_rows,
                           .all_columns = json.lexically_normal().string()};
  std::istringstream heading(delivery.heading);
  for (std::string line; std::getline(heading, line);)
    std::printf("%s\n", in_lines(line, style.width - 2, 2).c_str());
  std::printf("\n%s", summary_to_console(result, style.width).c_str());
  for (const Table& table : result.tables)
    if (std::ranges::count(delivery.shown_tables, table.name) > 0)
      std::printf("\n%s\n", to_console(table, style).c_str());
  if (!result.figures.empty()) std::printf("\nFigures:\n");
  for (const FigureFile& figure : result.figures)
    std::printf("  %s\n", (output.out / figure.path).lexically_normal().c_str());
  if (!result.arrays.empty())
    std::printf("Arrays: %s\n", (output.out / result.arrays).lexically_normal().c_str());
  if (!delivery.advice.is_null())
    std::printf("Advice: %s\n",
                (json.parent_path() / (result.command + "_advice.json")).lexically_normal().c_str());
  std::printf("Result: %s\n", json.lexically_normal().c_str());
  if (const int64_t bytes = peak_cuda_bytes(); bytes > 0)
    std::printf("GPU memory: %s at most\n", size_text(static_cast<double>(bytes)).c_str());
}

}  // namespace

std::vector<Gate> check_output(const OutputOptions& output, Draws draws,
                               std::span<const std::string> others) {
  require_writable(output.out);
  require(draws == Draws::maybe_not || output.no_plots || plot::is_installed("gnuplot"),
          "there is no gnuplot in PATH, which draws the figures; install the package gnuplot-nox, or give "
          "--no-plots");
  std::vector<Gate> gates;
  for (const std::string& text : output.fail_if) gates.push_back(parse_gate(text));
  if (output.junit.empty()) return gates;
  require<UsageError>(!gates.empty() || !others.empty(), "--junit ", output.junit.string(),
                      " reports gates, and there is none; give --fail-if",
                      output.command == "compare" ? " or --tolerance" : "");
  CheckReport report{.command = output.command, .checks = {}, .properties = {}};
  for (const Gate& gate : gates) report.checks.push_back({.name = gate.text, .message = ""});
  for (const std::string& name : others) report.checks.push_back({.name = name, .message = ""});
  write_file(output.junit, unfinished_junit(std::move(report)));
  return gates;
}

nlohmann::ordered_json provenance_of(const SubjectOrigin& o, const CallOptions& call,
                                     nlohmann::ordered_json options) {
  nlohmann::ordered_json provenance = {{"version", version},
                                       {"commit", commit},
                                       {"command_line", call.command_line},
                                       {"options", std::move(options)},
                                       {"model", o.model},
                                       {"architecture", o.architecture},
                                       {"model_sha256", o.model_sha256},
                                       {"tokenizer_sha256", o.tokenizer_sha256},
                                       {"text", o.text},
                                       {"text_sha256", o.text_sha256},
                                       {"bos", o.bos},
                                       {"dtype", o.dtype},
                                       {"device", o.device},
                                       {"threads", o.threads > 0 ? o.threads : kernels::thread_count()}};
  if (!o.stored_dtype.empty()) provenance["stored_dtype"] = o.stored_dtype;
  if (!o.bf16_products.empty()) provenance["bf16_products"] = o.bf16_products;
  return provenance;
}

int deliver(Result result, Delivery delivery, const OutputOptions& output) {
  require_unchanged_inputs();
  std::optional<FileLock> alone(alone_in(output.out / "results"));
  std::vector<Check> checks;
  for (const Gate& gate : delivery.gates) checks.push_back(decide(gate, result));
  checks.insert(checks.end(), delivery.checks.begin(), delivery.checks.end());
  for (auto& figure : delivery.figures)
    if (figure.figure.subtitle.empty()) figure.figure.subtitle = delivery.subtitle;
  std::string undrawn;  // the numbers are put out all the same: the run was long
  try {
    if (!output.no_plots) result.figures = draw(std::move(delivery.figures), output);
  } catch (const plot::DrawError& error) {
    undrawn = error.what();
  }
  const std::string name = cat("results/", result.command, ".h5");
  if (delivery.write_arrays) {
    delivery.write_arrays(output.out / name);
    result.arrays = name;
  } else if (std::error_code ignored; std::filesystem::is_regular_file(output.out / name, ignored)) {
    std::filesystem::remove(output.out / name, ignored);  // an earlier run's arrays would pass for this one's
  }
  const auto advice = output.out / cat("results/", result.command, "_advice.json");
  if (delivery.advice.is_null()) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(advice, ignored)) std::filesystem::remove(advice, ignored);
  } else {
    write_file(advice, delivery.advice.dump(2) + "\n");
  }
  remove_stale_files(result, output.out, {.csv = output.csv, .more = delivery.more_files});
  const auto files = write_result(result, output.out, {.csv = output.csv});
  const CheckReport report = report_of(result, std::move(checks));
  if (!output.junit.empty()) write_file(output.junit, to_junit(report));
  alone.reset();
  print(result, delivery, output, files.front());
  if (output.json.empty() && !report.checks.empty())
    std::printf("\n%s", to_console(report.checks, terminal_width(STDOUT_FILENO)).c_str());
  if (!delivery.remark.empty()) {
    std::fflush(stdout);
    std::fprintf(stderr, "kvviz: %s\n", delivery.remark.c_str());
  }
  std::fputs(complaints(report.checks).c_str(), stderr);
  if (for_github(output)) std::fputs(github_annotations(report).c_str(), stderr);
  require(undrawn.empty(), undrawn, "\nno figure was kept; the numbers are complete in ",
          files.front().lexically_normal().string());
  return exit_code(report.checks);
}

std::string short_name(const std::string& model) {
  std::filesystem::path folder(model);
  if (!folder.has_filename()) folder = folder.parent_path();
  const std::string name = folder.filename().string();
  return name.empty() ? "unknown model" : name;
}

}  // namespace kvviz
