// SPDX-License-Identifier: MIT
#include "kvviz/core/error.hpp"
#include "kvviz/engine/analyze.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

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
  const Runner runner = load_runner(std::move(opened), std::ssize(text.tokens.ids) + options.generate);
  Work work;
  work.subject =
      run_model(runner, text, {.attention = request_of(options, focus), .quiet = options.call.quiet});
  work.analyses = run_analyses(work.subject, options, focus);
  if (focus.tokens && options.generate > 0)
    work.analyses.generation = generation_after(runner, work.subject, options);
  return work;
}

Work work_on_cache(const AnalyzeOptions& options, const Focus& focus) {
  Work work;
  work.subject = open_cache(options.cache);
  work.analyses = run_analyses(work.subject, options, focus);
  return work;
}

int analyze(const AnalyzeOptions& options) {
  Delivery delivery{.gates = check_output(options.output)};
  const Focus focus = parse_focus(options.focus);
  validate(options);
  set_threads(options.call.threads);
  const Work work = options.cache.empty() ? work_on_model(options, focus) : work_on_cache(options, focus);
  const auto& [subject, analyses] = work;
  Result result{.command = "analyze", .provenance = provenance(subject, options)};
  result.summary = summary_facts(subject, analyses, focus);
  result.tables = result_tables(subject, analyses, focus);
  if (!options.output.no_plots) delivery.figures = result_figures(subject, analyses, options, focus);
  delivery.subtitle = cat(short_name(subject.origin.model), ", ", subject.origin.text, ", ",
                          subject.cache.tokens.ids.size(), " tokens");
  delivery.heading = cat(subject.origin.model, ", ", subject.origin.text);
  delivery.shown_tables = {"layers", "attention_layers", "top_keys"};
  if (has_arrays(subject, analyses))
    delivery.write_arrays = [&](const auto& file) { write_arrays(file, subject, analyses); };
  return deliver(std::move(result), std::move(delivery), options.output);
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
