// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/tucker_output.hpp"
#include "kvviz/engine/tucker_run.hpp"
#include "kvviz/figures/tucker_figures.hpp"
#include "kvviz/tables/over_texts.hpp"
#include "kvviz/tables/tucker_tables.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

using analysis::TuckerStudy;

/// The study with where it is from; of texts the run.
struct Work {
  TuckerStudy study;
  SubjectOrigin origin;
  std::unique_ptr<TextRun> texts;
};

std::unique_ptr<TextRun> open_tucker_texts(const TuckerOptions& o) {
  return open_trial_texts({.command = "tucker",
                           .call = o.call,
                           .model = o.model,
                           .texts = o.texts,
                           .out = o.output.out,
                           .check = [&](const batch::PlannedText& text) {
                             windows_of(text.name, text.tokens, trial_options(o));
                           }});
}

/// Nothing where only a shard was measured.
std::optional<Work> work_on_texts(const TuckerOptions& o) {
  auto texts = open_tucker_texts(o);
  check_layer(o, texts->config().layers.size());
  check_basis(texts->config(), trial_options(o));
  texts->measure({.doing = "decomposing the caches"}, [&](const TextRun::Work& work) {
    return measure_tucker(work, o, work.index == texts->first());
  });
  if (texts->only_a_shard()) return std::nullopt;
  TuckerStudy study = gather_tucker(*texts, o);
  SubjectOrigin origin = texts->origin();
  return Work{std::move(study), std::move(origin), std::move(texts)};
}

Work work_on_cache(const TuckerOptions& o) {
  const Subject subject = open_cache(o.cache);
  check_layer(o, subject.cache.layers.size());
  return {tucker_of_cache(subject.cache, o), subject.origin, nullptr};
}

std::vector<Table> tables_of(const TuckerStudy& study) {
  std::vector<Table> all{tables::tucker_table(study), tables::tucker_layers_table(study),
                         tables::tucker_ranks_table(study), tables::tucker_layer_ranks_table(study)};
  if (study.has_model) {
    all.push_back(tables::tucker_heads_table(study));
    all.push_back(tables::tucker_texts_table(study));
  }
  if (!study.sensitivity.empty()) all.push_back(tables::tucker_sensitivity_table(study));
  if (!study.sweep.empty()) all.push_back(tables::tucker_sweep_table(study));
  return all;
}

int run(const TuckerOptions& o) {
  Delivery delivery{.gates = check_output(o.output, draws(o.texts))};
  set_threads(o.call.threads);
  const std::optional<Work> work = o.cache.empty() ? work_on_texts(o) : work_on_cache(o);
  if (!work) return 0;
  const TuckerStudy& study = work->study;
  const SubjectOrigin& origin = work->origin;
  const auto effective = effective_options(o, study);
  Result result{.command = "tucker",
                .provenance = work->texts ? work->texts->provenance(o.call, effective)
                                          : provenance_of(origin, o.call, effective)};
  result.summary = summary_facts(study);
  result.tables = tables_of(study);
  tables::add_over_texts(result, "tucker_texts", tables::judged_facts);
  if (work->texts) work->texts->add_failures(result, delivery);
  // A cache file may not say which model it is of.
  const auto named = [&](const std::string& model) {
    return cat(model, model.empty() ? "" : ", ", origin.text);
  };
  const std::string what = named(short_name(origin.model));
  if (!o.output.no_plots) delivery.figures = figures::tucker_figures(study, what);
  delivery.heading = named(origin.model);
  delivery.subtitle = what;
  delivery.shown_tables = {"tucker", "tucker_layers", "tucker_sensitivity", "tucker_sweep"};
  delivery.shown_rows = 60;
  delivery.write_arrays = [&study](const auto& file) { write_tucker_arrays(file, study); };
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace
}  // namespace kvviz

extern "C" int kvviz_tucker(const kvviz::TuckerOptions& options) {
  return kvviz::guarded([&] { return kvviz::run(options); });
}
