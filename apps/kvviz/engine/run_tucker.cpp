// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/entry.hpp"
#include "kvviz/engine/tucker_output.hpp"
#include "kvviz/engine/tucker_run.hpp"
#include "kvviz/figures/tucker_figures.hpp"
#include "kvviz/tables/tucker_tables.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

using analysis::TuckerStudy;

struct Work {
  TuckerStudy study;
  SubjectOrigin origin;
};

Work work_on_texts(const TuckerOptions& o) {
  OpenedFolder opened = open_folder(o.model, o.call);
  check_layer(o, opened.config.layers.size());
  require<UsageError>(o.key_basis != "pre_rope" || opened.config.position == PositionKind::rope,
                      "--key-basis pre_rope: the model has no RoPE; leave the option out");
  const auto texts = read_texts(o.texts, *opened.tokenizer, opened.config, o.call);
  for (const TextInput& text : texts) windows_of(text, trial_options(o));
  const Runner runner = load_runner(std::move(opened), longest(texts));
  return {tucker_of_texts(runner, texts, o), origin_of_all(runner, texts)};
}

Work work_on_cache(const TuckerOptions& o) {
  const Subject subject = open_cache(o.cache);
  check_layer(o, subject.cache.layers.size());
  return {tucker_of_cache(subject.cache, o), subject.origin};
}

std::vector<Table> tables_of(const TuckerStudy& study) {
  std::vector<Table> all{tables::tucker_table(study), tables::tucker_layers_table(study),
                         tables::tucker_ranks_table(study), tables::tucker_layer_ranks_table(study)};
  if (study.has_model) all.push_back(tables::tucker_heads_table(study));
  if (!study.sensitivity.empty()) all.push_back(tables::tucker_sensitivity_table(study));
  if (!study.sweep.empty()) all.push_back(tables::tucker_sweep_table(study));
  return all;
}

int run(const TuckerOptions& o) {
  Delivery delivery{.gates = check_output(o.output)};
  set_threads(o.call.threads);
  const auto [study, origin] = o.cache.empty() ? work_on_texts(o) : work_on_cache(o);
  Result result{.command = "tucker",
                .provenance = provenance_of(origin, o.call, effective_options(o, study))};
  result.summary = summary_facts(study);
  result.tables = tables_of(study);
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
