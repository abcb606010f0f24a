// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/analyze.hpp"
#include "kvviz/engine/batch_output.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

kernels::AttentionRequest request_of(const AnalyzeOptions& options, const Focus& focus) {
  kernels::AttentionRequest request;
  request.statistics = focus.needs_attention();
  request.first_keys = options.attention.first_keys;
  request.map_bins = focus.attention && focus.each_token ? options.map_bins : 0;
  return request;
}

struct Work {
  Subject subject;
  Analyses analyses;
};

Work work_on_text(const TextRun::Work& text, AnalyzeOptions options, const Focus& focus) {
  options.call.quiet = text.quiet;
  Work work;
  work.subject = run_model(text.runner, text.text,
                           {.attention = request_of(options, focus), .quiet = options.call.quiet});
  work.analyses = run_analyses(work.subject, options, focus);
  if (focus.tokens && options.generate > 0)
    work.analyses.generation = generation_after(text.runner, work.subject, options);
  return work;
}

Work work_on_cache(const AnalyzeOptions& options, const Focus& focus) {
  Work work;
  work.subject = measure_cache(options.cache, {.attention = request_of(options, focus),
                                               .needs_queries = options.needs_queries,
                                               .quiet = options.call.quiet});
  work.analyses = run_analyses(work.subject, options, focus);
  return work;
}

Result result_of(const Work& work, const Focus& focus) {
  return {.command = "analyze",
          .summary = summary_facts(work.subject, work.analyses, focus),
          .tables = result_tables(work.subject, work.analyses, focus),
          .figures = {}};
}

int deliver_one(const Work& work, const AnalyzeOptions& options, const Focus& focus,
                std::vector<Gate> gates) {
  const auto& subject = work.subject;
  const auto& analyses = work.analyses;
  Delivery delivery{.gates = std::move(gates)};
  Result result = result_of(work, focus);
  result.provenance = provenance_of(subject.origin, options.call, effective_options(options));
  if (!options.output.no_plots) delivery.figures = result_figures(subject, analyses, options, focus);
  delivery.subtitle = cat(short_name(subject.origin.model), ", ", subject.origin.text, ", ",
                          subject.cache.tokens.ids.size(), " tokens");
  delivery.heading = cat(subject.origin.model, ", ", subject.origin.text);
  delivery.shown_tables = {"layers", "attention_layers", "top_keys"};
  if (has_arrays(subject, analyses))
    delivery.write_arrays = [&](const auto& file) { write_arrays(file, subject, analyses); };
  return deliver(std::move(result), std::move(delivery), options.output);
}

TextRun::Request request_of(const AnalyzeOptions& options) {
  return {.command = "analyze",
          .call = options.call,
          .model = options.model,
          .texts = options.texts,
          .out = options.output.out};
}

/// Of several texts only what all of them have is put out: no map, list or pattern of one.
void check_several(const AnalyzeOptions& options) {
  for (const char* name : {"--map-bins", "--patterns", "--top-keys"})
    require<UsageError>(std::ranges::count(options.call.chosen, name) == 0, name,
                        " has no effect on several texts, whose tokens are not shown one by one");
}

int analyze_texts(const AnalyzeOptions& options, const Focus& focus, std::vector<Gate> gates) {
  TextRun texts(request_of(options));
  const int64_t context = texts.config().context;
  require<UsageError>(options.generate < context, "--generate ", options.generate,
                      " needs more than the model's context of ", context, " tokens");
  Focus of_many = focus;
  of_many.each_token = false;
  const BatchLayout layout = analyze_layout();
  const bool one_text = texts.plan_texts() == 1;
  if (!one_text) check_several(options);
  std::optional<Work> one;
  texts.measure({.doing = "analysing the texts", .more_tokens = options.generate},
                [&](const TextRun::Work& text) {
                  Work work = work_on_text(text, options, one_text ? focus : of_many);
                  if (!one_text) return text_record(result_of(work, of_many), layout);
                  one = std::move(work);
                  return nlohmann::json();
                });
  if (one) return deliver_one(*one, options, focus, std::move(gates));
  if (texts.only_a_shard()) return 0;
  return deliver_over_texts(texts, layout,
                            {.command = "analyze",
                             .call = options.call,
                             .output = options.output,
                             .gates = std::move(gates),
                             .options = effective_options(options),
                             .shown_tables = {"layers_over_texts", "attention_layers_over_texts"}});
}

/// One option may be of several parts: each has it from here on, and so have the figures.
AnalyzeOptions shared_out(AnalyzeOptions options) {
  options.layers.small_eps = options.heads.small_eps;
  options.layers.legacy = options.heads.legacy = options.channels.legacy = options.distribution.legacy =
      options.legacy;
  return options;
}

int analyze(const AnalyzeOptions& given) {
  const AnalyzeOptions options = shared_out(given);
  std::vector<Gate> gates = check_output(options.output, draws(options.texts));
  const Focus focus = parse_focus(options.focus);
  validate(options);
  set_threads(options.call.threads);
  if (options.cache.empty()) return analyze_texts(options, focus, std::move(gates));
  return deliver_one(work_on_cache(options, focus), options, focus, std::move(gates));
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
