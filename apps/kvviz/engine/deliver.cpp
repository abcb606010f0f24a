// SPDX-License-Identifier: MIT
#include "kvviz/engine/deliver.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "kvviz/core/atomic_file.hpp"
#include "kvviz/core/error.hpp"
#include "kvviz/core/version.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/plot/render.hpp"
#include "kvviz/report/console.hpp"

namespace kvviz {
namespace {

std::vector<FigureFile> draw(std::vector<figures::NamedFigure> figures, const OutputOptions& output) {
  std::vector<plot::RenderJob> jobs;
  for (auto& named : figures) jobs.push_back({output.out / "graphs" / named.file, std::move(named.figure)});
  plot::RenderOptions render;
  render.canvas = {plot::parse_format(output.format), output.plot_scale};
  render.keep_scripts = output.keep_plot_scripts;
  render.processes = std::min(kernels::thread_count(), static_cast<int>(std::thread::hardware_concurrency()));
  const auto files = plot::render(jobs, plot::Theme{}, render);
  std::vector<FigureFile> written;
  for (size_t i = 0; i < files.size(); ++i)
    written.push_back({files[i].lexically_relative(output.out).string(), jobs[i].figure.title});
  return written;
}

std::vector<std::string> fired_gates(const std::vector<Gate>& gates, const Result& result) {
  std::vector<std::string> messages;
  for (const Gate& gate : gates)
    if (GateOutcome outcome = check_gate(gate, result); outcome.fired)
      messages.push_back(std::move(outcome.message));
  return messages;
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
  std::printf("%s\n\n%s", delivery.heading.c_str(), summary_to_console(result, style.width).c_str());
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
}

}  // namespace

std::vector<Gate> check_output(const OutputOptions& output) {
  require_writable(output.out);
  std::vector<Gate> gates;
  for (const std::string& text : output.fail_if) gates.push_back(parse_gate(text));
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
                                       {"threads", kernels::thread_count()}};
  if (!o.stored_dtype.empty()) provenance["stored_dtype"] = o.stored_dtype;
  return provenance;
}

int deliver(Result result, Delivery delivery, const OutputOptions& output) {
  const std::vector<std::string> fired = fired_gates(delivery.gates, result);
  for (auto& figure : delivery.figures)
    if (figure.figure.subtitle.empty()) figure.figure.subtitle = delivery.subtitle;
  if (!output.no_plots) result.figures = draw(std::move(delivery.figures), output);
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
  const auto files = write_result(result, output.out, {.csv = output.csv});
  print(result, delivery, output, files.front());
  for (const std::string& message : fired) std::fprintf(stderr, "kvviz: gate fired: %s\n", message.c_str());
  return fired.empty() ? 0 : 4;
}

std::string short_name(const std::string& model) {
  std::filesystem::path folder(model);
  if (!folder.has_filename()) folder = folder.parent_path();
  const std::string name = folder.filename().string();
  return name.empty() ? "unknown model" : name;
}

}  // namespace kvviz
