// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/analyze.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/io/cache_file.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/plot/render.hpp"
#include "kvviz/report/console.hpp"
#include "kvviz/report/gate.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

Subject open_cache(const std::filesystem::path& file) {
  io::CacheContents contents = io::read_cache(file);
  Subject subject;
  subject.cache = std::move(contents.cache);
  validate(subject.cache.view(), file.string());
  const auto& from = contents.provenance;
  subject.origin = {.model = from.model,
                    .architecture = from.architecture,
                    .dtype = dtype_name(subject.cache.layers.front().key.scalar_type()),
                    .model_sha256 = from.model_sha256,
                    .text = cat("cache file ", file.string()),
                    .text_sha256 = hash_of(subject.cache.tokens.ids),
                    .bos = from.bos};
  return subject;
}

kernels::AttentionRequest request_of(const AnalyzeOptions& options, const Focus& focus) {
  kernels::AttentionRequest request;
  request.statistics = focus.needs_attention();
  request.first_keys = options.attention.first_keys;
  request.map_bins = focus.attention ? options.map_bins : 0;
  return request;
}

struct Work {
  Subject subject;
  Analyses analyses;
};

Work work_on_model(const AnalyzeOptions& options, const Focus& focus) {
  OpenedFolder opened = open_folder(options.model, options.call);
  const TextInput text = read_text(options.text, *opened.tokenizer, opened.config, options.call.data);
  require(options.generate < opened.config.context, "--generate ", options.generate,
          " needs more than the model's context of ", opened.config.context, " tokens");
  const Runner runner = load_runner(std::move(opened));
  Work work;
  work.subject =
      run_model(runner, text, {.attention = request_of(options, focus), .quiet = options.call.quiet});
  work.analyses = run_analyses(work.subject, options, focus);
  if (focus.tokens && options.generate > 0)
    work.analyses.generation = generation_stages(runner, work.subject, options);
  return work;
}

Work work_on_cache(const AnalyzeOptions& options, const Focus& focus) {
  Work work;
  work.subject = open_cache(options.cache);
  work.analyses = run_analyses(work.subject, options, focus);
  return work;
}

std::vector<FigureFile> draw(const Work& work, const AnalyzeOptions& options, const Focus& focus) {
  std::vector<plot::RenderJob> jobs;
  for (auto& named : result_figures(work.subject, work.analyses, options, focus))
    jobs.push_back({options.output.out / "graphs" / named.file, std::move(named.figure)});
  plot::RenderOptions render;
  render.canvas = {plot::parse_format(options.output.format), options.output.plot_scale};
  render.keep_scripts = options.output.keep_plot_scripts;
  render.processes = std::min(kernels::thread_count(), static_cast<int>(std::thread::hardware_concurrency()));
  const auto files = plot::render(jobs, plot::Theme{}, render);
  std::vector<FigureFile> written;
  for (size_t i = 0; i < files.size(); ++i)
    written.push_back({files[i].lexically_relative(options.output.out).string(), jobs[i].figure.title});
  return written;
}

// Messages of the gates that fire; before any file is written, so that a wrong name leaves nothing behind.
std::vector<std::string> fired_gates(const std::vector<Gate>& gates, const Result& result) {
  std::vector<std::string> messages;
  for (const Gate& gate : gates)
    if (GateOutcome outcome = check_gate(gate, result); outcome.fired)
      messages.push_back(std::move(outcome.message));
  return messages;
}

void print(const Result& result, const OutputOptions& output, const std::filesystem::path& json) {
  if (output.json == "-") {
    std::fputs(to_json(result).c_str(), stdout);
    return;
  }
  std::printf("%s, %s\n\n%s", result.provenance["model"].get<std::string>().c_str(),
              result.provenance["text"].get<std::string>().c_str(), summary_to_console(result).c_str());
  const ConsoleStyle style{.width = terminal_width(STDOUT_FILENO), .max_rows = 12};
  for (const Table& table : result.tables)
    if (table.name == "layers" || table.name == "attention_layers" || table.name == "top_keys")
      std::printf("\n%s\n", to_console(table, style).c_str());
  if (!result.figures.empty()) std::printf("\nFigures:\n");
  for (const FigureFile& figure : result.figures)
    std::printf("  %s\n", (output.out / figure.path).lexically_normal().c_str());
  std::printf("Result: %s\n", json.lexically_normal().c_str());
}

int analyze(const AnalyzeOptions& options) {
  std::vector<Gate> parsed;
  for (const std::string& text : options.output.fail_if) parsed.push_back(parse_gate(text));
  const Focus focus = parse_focus(options.focus);
  validate(options);
  set_threads(options.call.threads);
  const Work work = options.cache.empty() ? work_on_model(options, focus) : work_on_cache(options, focus);
  Result result{.command = "analyze", .provenance = provenance(work.subject, options)};
  result.summary = summary_facts(work.subject, work.analyses, focus);
  result.tables = result_tables(work.subject, work.analyses, focus);
  const std::vector<std::string> fired = fired_gates(parsed, result);
  if (!options.output.no_plots) result.figures = draw(work, options, focus);
  const auto arrays = options.output.out / "results/analyze.h5";
  if (write_arrays(arrays, work.subject, work.analyses))
    result.arrays = "results/analyze.h5";
  else if (std::error_code ignored; std::filesystem::is_regular_file(arrays, ignored))
    std::filesystem::remove(arrays, ignored);  // an earlier run's arrays would pass for this one's
  const auto files = write_result(result, options.output.out, {.csv = options.output.csv});
  print(result, options.output, files.front());
  for (const std::string& message : fired) std::fprintf(stderr, "kvviz: gate fired: %s\n", message.c_str());
  return fired.empty() ? 0 : 4;
}

}  // namespace

void validate(const AnalyzeOptions& options) {
  analysis::validate(options.layers);
  analysis::validate(options.heads);
  analysis::validate(options.channels);
  analysis::validate(options.distribution);
  analysis::validate(options.attention);
  analysis::validate(options.legacy);
}

}  // namespace kvviz

extern "C" int kvviz_analyze(const kvviz::AnalyzeOptions& options) {
  return kvviz::guarded([&] { return kvviz::analyze(options); });
}
