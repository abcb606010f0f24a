// SPDX-License-Identifier: MIT
#include "kvviz/engine/simulate_oneshot.hpp"

#include <algorithm>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/deliver.hpp"
#include "kvviz/engine/simulate_run.hpp"
#include "kvviz/engine/text_run.hpp"
#include "kvviz/policy/oneshot.hpp"
#include "kvviz/tables/fields.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

constexpr const char* mask_names[] = {"full", "window", "streaming_llm", "h2o", "lru"};

struct MaskRow {
  int64_t text = 0;
  std::string policy, budget, scope;
  int64_t tokens = 0, kept = 0;
  double mass = 0;        ///< share of the column sums on kept keys
  std::string intervals;  ///< "0-3, 94-99"
};

std::string intervals_of(const policy::KeepMask& mask) {
  std::string text;
  for (size_t i = 0; i < mask.size();) {
    size_t end = i;
    while (end < mask.size() && mask[end]) ++end;
    if (end > i) text += cat(text.empty() ? "" : ", ", i, end - i > 1 ? cat('-', end - 1) : "");
    i = std::max(end, i + 1);
  }
  return text;
}

MaskRow row_of(int64_t text, const std::string& policy, const policy::Budget& budget, std::string scope,
               std::span<const double> sums, int64_t sinks) {
  const auto tokens = std::ssize(sums);
  const policy::KeepMask mask = policy::oneshot_mask(policy, sums, policy::resolve(budget, tokens), sinks);
  MaskRow row{.text = text,
              .policy = policy,
              .budget = budget.text,
              .scope = std::move(scope),
              .tokens = tokens,
              .intervals = intervals_of(mask)};
  double all = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    all += sums[i];
    if (!mask[i]) continue;
    ++row.kept;
    row.mass += sums[i];
  }
  row.mass /= all;
  return row;
}

std::vector<std::string> names_of(const SimulateOptions& o) {
  if (o.policies == std::vector<std::string>{"all"}) return {std::begin(mask_names), std::end(mask_names)};
  for (const std::string& name : o.policies)
    require<UsageError>(std::ranges::count(mask_names, name) > 0, "--mode oneshot has no mask '", name,
                        "'; there are full, window, streaming_llm, h2o and lru");
  return o.policies;
}

/// Masks by the mean over all sets, and those of each set.
struct Masks {
  std::vector<MaskRow> mean, sets;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(MaskRow, text, policy, budget, scope, tokens, kept, mass, intervals)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Masks, mean, sets)

Masks masks_of(int64_t text, const SimulationResult& result, const SimulateOptions& o,
               std::span<const policy::Budget> budgets) {
  Masks masks;
  const int64_t sinks = o.eviction.sinks.value_or(4);
  std::vector<double> mean(result.keys.front().mass.size());
  for (const KeyUse& use : result.keys)
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += use.mass[i] / static_cast<double>(result.keys.size());
  for (const std::string& name : names_of(o)) {
    for (const policy::Budget& budget : budgets) {
      masks.mean.push_back(row_of(text, name, budget, "mean", mean, sinks));
      for (const KeyUse& use : result.keys)
        masks.sets.push_back(row_of(
            text, name, budget, cat("layer ", use.layer, " KV head ", use.owner.kv_head), use.mass, sinks));
    }
  }
  return masks;
}

Table mask_table(const char* name, const std::vector<MaskRow>& rows) {
  using Row = MaskRow;
  using tables::Field;
  const auto text = [](const char* column, auto get) {
    return Field<Row>{{column, "", ColumnType::text}, [get](const Row& r) { return Cell(get(r)); }};
  };
  const std::vector<Field<Row>> fields{
      {{"text", "", ColumnType::integer}, [](const Row& r) { return Cell(r.text); }},
      text("policy", [](const Row& r) { return r.policy; }),
      text("budget", [](const Row& r) { return r.budget; }),
      text("scope", [](const Row& r) { return r.scope; }),
      {{"tokens", "tokens", ColumnType::integer}, [](const Row& r) { return Cell(r.tokens); }},
      {{"kept", "tokens", ColumnType::integer}, [](const Row& r) { return Cell(r.kept); }},
      {{"mass", ""}, [](const Row& r) { return tables::real(r.mass); }},
      text("positions", [](const Row& r) { return r.intervals; })};
  return tables::make_table(name, {"text", "policy", "budget", "scope"}, fields, rows);
}

}  // namespace

int run_oneshot(const SimulateOptions& o) {
  Delivery delivery{.gates = check_output(o.output, draws(o.texts))};
  std::vector<policy::Budget> budgets;
  for (const std::string& budget : o.budgets) budgets.push_back(policy::parse_budget(budget));
  names_of(o);
  set_threads(o.call.threads);
  TextRun texts(
      {.command = "simulate", .call = o.call, .model = o.model, .texts = o.texts, .out = o.output.out});
  const SimulationOptions settings = settings_of(o, texts.config());
  texts.measure({.doing = "running the texts"}, [&](const TextRun::Work& work) {
    return masks_of(work.index, simulate(work.runner.model.decoder, work.text.tokens.ids, {}, settings), o,
                    budgets);
  });
  if (texts.only_a_shard()) return 0;
  Masks masks;
  texts.each([&](const TextRun::Record& measured) {
    auto one = measured.body.get<Masks>();
    std::ranges::move(one.mean, std::back_inserter(masks.mean));
    std::ranges::move(one.sets, std::back_inserter(masks.sets));
  });
  const SubjectOrigin origin = texts.origin();
  nlohmann::ordered_json effective;
  add_options(effective, o.texts);
  effective.update({{"mode", o.mode},
                    {"policies", o.policies},
                    {"budget", o.budgets},
                    {"gqa-agg", o.gqa_agg},
                    {"sinks", o.eviction.sinks.value_or(4)}});
  Result result{.command = "simulate", .provenance = texts.provenance(o.call, effective)};
  result.summary = {{"texts", tables::integer(texts.measured()), "", "Texts"},
                    {"mode", std::string("oneshot"), "",
                     "One decision for the finished text, as sinkvis made it; no model effect"}};
  result.tables = {mask_table("oneshot", masks.mean), mask_table("oneshot_sets", masks.sets)};
  texts.add_failures(result, delivery);
  delivery.heading = cat(origin.model, ", ", origin.text);
  delivery.shown_tables = {"oneshot"};
  delivery.shown_rows = 40;
  return deliver(std::move(result), std::move(delivery), o.output);
}

}  // namespace kvviz
