// SPDX-License-Identifier: MIT
#include "kvviz/tables/tucker_tables.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/tables/cache_outcome_tables.hpp"
#include "kvviz/tables/fields.hpp"

namespace kvviz::tables {
namespace {

using namespace analysis;

constexpr const char* no_error = "fewer than two texts, or blocks of a single text";
constexpr const char* no_model = "a cache file has no model and no queries";
constexpr const char* by_bytes = "each head has a rank of its own";

/// Columns of losses that CacheOutcomes have in all tables, and why they may be missing.
template <class Row>
class Losses {
 public:
  using Outcome = std::function<const CacheOutcome&(const Row&)>;
  Losses(std::vector<Field<Row>>& fields, bool has_model, Outcome of)
      : fields_(fields),
        none_(has_model ? "not measured" : no_model),
        no_error_(has_model ? no_error : no_model),
        of_(std::move(of)) {}

  void add_percent() {
    add(
        "delta_ppl_percent", "%", [](const CacheOutcome& o) { return o.delta_ppl_percent(); }, none_);
    add(
        "delta_ppl_percent_se", "%", [](const CacheOutcome& o) { return o.delta_ppl_percent_se(); },
        no_error_);
  }

  void add_others() {
    member("kl", "nats", &CacheOutcome::kl, none_);
    member("top1_agreement", "", &CacheOutcome::top1_agreement, none_);
    member("output_error", "", &CacheOutcome::output_error, none_);
    member("delta_nll", "nats", &CacheOutcome::delta_nll, none_);
    member("delta_nll_se", "nats", &CacheOutcome::delta_nll_se, no_error_);
    member("kl_max", "nats", &CacheOutcome::kl_max, none_);
    member("nll", "nats", &CacheOutcome::nll, none_);
    member("ppl", "", &CacheOutcome::ppl, none_);
    member("delta_ppl", "", &CacheOutcome::delta_ppl, none_);
    member("delta_ppl_se", "", &CacheOutcome::delta_ppl_se, no_error_);
  }

 private:
  template <class Get>
  void add(const char* name, const char* unit, Get get, const char* reason) {
    fields_.push_back(
        {{name, unit}, [of = of_, get, reason](const Row& row) { return real(get(of(row)), reason); }});
  }
  void member(const char* name, const char* unit, double CacheOutcome::*value, const char* reason) {
    add(
        name, unit, [value](const CacheOutcome& o) { return o.*value; }, reason);
  }

  std::vector<Field<Row>>& fields_;
  const char *none_, *no_error_;
  Outcome of_;
};

using Outcomes = std::vector<Field<TuckerOutcome>>;

/// What stands in the tables of the ranks asked for and of the sweep, after their keys.
void add_outcome(Outcomes& fields, const TuckerStudy& study) {
  using Row = TuckerOutcome;
  const auto add = [&](const char* name, const char* unit, auto get) {
    fields.push_back({{name, unit}, [get](const Row& r) { return real(get(r)); }});
  };
  add("ratio", "", [](const Row& r) { return r.outcome.ratio(); });
  add("bytes_per_token", "bytes", [](const Row& r) { return r.outcome.bytes_per_token(); });
  Losses<Row> losses(fields, study.has_model, [](const Row& r) -> const CacheOutcome& { return r.outcome; });
  if (study.has_model) losses.add_percent();
  add("key_error", "", [](const Row& r) { return r.key_error; });
  add("value_error", "", [](const Row& r) { return r.value_error; });
  if (!study.has_model) losses.add_percent();
  losses.add_others();
  for (size_t mode = 0; mode < tucker_modes.size(); ++mode)
    fields.push_back({{cat("rank_", tucker_modes[mode])}, [mode](const Row& r) {
                        return r.ranks[mode] > 0 ? Cell(r.ranks[mode]) : Cell(Null{by_bytes});
                      }});
  add("payload_bytes", "bytes", [](const Row& r) { return r.outcome.payload_bytes; });
  add("metadata_bytes", "bytes", [](const Row& r) { return r.outcome.metadata_bytes; });
  add("resident_bytes", "bytes", [](const Row& r) { return r.outcome.resident_bytes(); });
  add("f16_bytes", "bytes", [](const Row& r) { return r.outcome.f16_bytes; });
}

Outcomes keys_of_outcomes(bool has_rope) {
  return {{word("family"), [](const TuckerOutcome& r) { return Cell(r.family); }},
          {word("keys"), [has_rope](const TuckerOutcome& r) { return Cell(basis_name(r.basis, has_rope)); }}};
}

}  // namespace

std::string half_name(Half half) {
  return half == Half::key ? "key" : "value";
}

std::string basis_name(KeyBasis basis, bool has_rope) {
  if (!has_rope) return "no RoPE";
  return basis == KeyBasis::pre_rope ? "pre_rope" : "post_rope";
}

std::string ranks_text(const std::array<std::vector<double>, 3>& modes) {
  std::string text;
  for (const std::vector<double>& mode : modes) {
    if (mode.empty()) continue;
    const auto [least, most] = std::ranges::minmax(mode);
    const auto shown = [](double mean) { return shortest(std::round(10 * mean) / 10); };  // over texts
    text += cat(text.empty() ? "" : " x ", shown(least));
    if (most > least) text += cat(" to ", shown(most));
  }
  return text;
}

Table tucker_table(const TuckerStudy& study) {
  Outcomes fields = keys_of_outcomes(study.has_rope);
  add_outcome(fields, study);
  fields.push_back({whole("texts"), [](const TuckerOutcome& r) { return integer(r.outcome.texts); }});
  fields.push_back(
      {whole("predictions"), [](const TuckerOutcome& r) { return integer(r.outcome.predictions); }});
  return make_table("tucker", {"family", "keys"}, fields, study.outcomes);
}

Table tucker_heads_table(const TuckerStudy& study) {
  std::vector<NamedOutcome> outcomes;
  for (const TuckerOutcome& row : study.outcomes)
    outcomes.push_back({{row.family, basis_name(row.basis, study.has_rope)}, &row.outcome});
  return head_errors_table("tucker_heads", {"family", "keys"}, outcomes);
}

Table tucker_texts_table(const TuckerStudy& study) {
  std::vector<NamedText> named;
  for (const TextOutcome& text : study.by_text) {
    const TuckerOutcome& row = study.outcomes[text.outcome];
    named.push_back({{row.family, basis_name(row.basis, study.has_rope)}, &text});
  }
  return text_outcomes_table("tucker_texts", {"family", "keys"}, named);
}

Table tucker_sweep_table(const TuckerStudy& study) {
  Outcomes fields = keys_of_outcomes(study.has_rope);
  fields.push_back({whole("step"), [](const TuckerOutcome& r) { return integer(r.step); }});
  add_outcome(fields, study);
  return make_table("tucker_sweep", {"family", "keys", "step"}, fields, study.sweep);
}

Table tucker_layers_table(const TuckerStudy& study) {
  using Row = TuckerPart;
  std::vector<Field<Row>> fields = {{whole("layer"), [](const Row& r) { return integer(r.layer); }},
                                    {word("half"), [](const Row& r) { return Cell(half_name(r.half)); }},
                                    {{"error"}, [](const Row& r) { return real(r.error()); }},
                                    {{"initial_error"}, [](const Row& r) { return real(r.initial_error()); }},
                                    {whole("sweeps"), [](const Row& r) { return integer(r.sweeps); }},
                                    {{"ratio"}, [](const Row& r) { return real(r.ratio()); }}};
  const auto add = [&](const char* prefix, std::array<double, 3> Row::*values) {
    for (size_t mode = 0; mode < tucker_modes.size(); ++mode)
      fields.push_back({{cat(prefix, tucker_modes[mode])},
                        [mode, values](const Row& r) { return real((r.*values)[mode]); }});
  };
  add("rank_", &Row::ranks);
  add("", &Row::sizes);
  add("best_rank_", &Row::best);
  const auto mean = [&](const char* name, const char* unit, double factor, double Row::*sum) {
    fields.push_back({{name, unit}, [factor, sum](const Row& r) {
                        return real(factor * r.*sum / static_cast<double>(r.caches));
                      }});
  };
  fields.push_back({{"best_error"}, [](const Row& r) { return real(r.best_error()); }});
  mean("elements", "", 1, &Row::elements);
  mean("stored", "", 1, &Row::stored);
  mean("stored_bytes", "bytes", 2, &Row::stored);
  mean("f16_bytes", "bytes", 2, &Row::elements);
  return make_table("tucker_layers", {"layer", "half"}, fields, study.parts);
}

Table tucker_ranks_table(const TuckerStudy& study) {
  struct Row {
    TuckerCurve curve;
    int64_t rank;
  };
  std::vector<Row> rows;
  const auto add = [&](const std::vector<TuckerPart>& parts, Half half, KeyBasis basis) {
    for (size_t mode = 0; mode < tucker_modes.size(); ++mode) {
      TuckerCurve curve = curve_of(parts, half, mode);
      curve.basis = basis;
      for (const int64_t rank : shown_ranks(std::ssize(curve.pooled))) rows.push_back({curve, rank});
    }
  };
  add(study.parts, Half::key, study.basis);
  const KeyBasis other = study.basis == KeyBasis::pre_rope ? KeyBasis::post_rope : KeyBasis::pre_rope;
  add(study.other_keys, Half::key, other);
  add(study.parts, Half::value, study.basis);
  const auto at = [](std::vector<double> TuckerCurve::*values) {
    return [values](const Row& r) { return real((r.curve.*values)[static_cast<size_t>(r.rank - 1)]); };
  };
  const std::vector<Field<Row>> fields = {
      {word("half"), [](const Row& r) { return Cell(half_name(r.curve.half)); }},
      {word("keys"), [&study](const Row& r) { return Cell(basis_name(r.curve.basis, study.has_rope)); }},
      {word("mode"), [](const Row& r) { return Cell(std::string(tucker_modes[r.curve.mode])); }},
      {whole("rank"), [](const Row& r) { return integer(r.rank); }},
      {{"error"}, at(&TuckerCurve::pooled)},
      {{"least_error"}, at(&TuckerCurve::least)},
      {{"greatest_error"}, at(&TuckerCurve::greatest)}};
  return make_table("tucker_ranks", {"half", "keys", "mode", "rank"}, fields, rows);
}

Table tucker_layer_ranks_table(const TuckerStudy& study) {
  struct Row {
    const TuckerPart* part;
    size_t mode;
    int64_t rank;
    double error;
  };
  std::vector<Row> rows;
  for (const TuckerPart& part : study.parts)
    for (size_t mode = 0; mode < tucker_modes.size(); ++mode) {
      const std::vector<double> errors = error_curve(part.energies[mode]);
      for (const int64_t rank : shown_ranks(std::ssize(errors)))
        rows.push_back({&part, mode, rank, errors[static_cast<size_t>(rank - 1)]});
    }
  const std::vector<Field<Row>> fields = {
      {whole("layer"), [](const Row& r) { return integer(r.part->layer); }},
      {word("half"), [](const Row& r) { return Cell(half_name(r.part->half)); }},
      {word("mode"), [](const Row& r) { return Cell(std::string(tucker_modes[r.mode])); }},
      {whole("rank"), [](const Row& r) { return integer(r.rank); }},
      {{"error"}, [](const Row& r) { return real(r.error); }}};
  return make_table("tucker_layer_ranks", {"layer", "half", "mode", "rank"}, fields, rows);
}

Table tucker_sensitivity_table(const TuckerStudy& study) {
  struct Row {
    int layer;
    const CacheOutcome* outcome;
  };
  std::vector<Row> rows;
  for (const CacheOutcome& outcome : study.sensitivity)
    rows.push_back({static_cast<int>(rows.size()), &outcome});
  const auto own = [](const Row& r) -> const CacheOutcomeLayer& {
    return r.outcome->layers[static_cast<size_t>(r.layer)];
  };
  std::vector<Field<Row>> fields = {
      {whole("layer"), [](const Row& r) { return integer(r.layer); }},
      {{"key_error"}, [own](const Row& r) { return real(own(r).key_error); }},
      {{"value_error"}, [own](const Row& r) { return real(own(r).value_error); }},
      {{"attention_error"}, [own](const Row& r) { return real(own(r).output_error); }}};
  Losses<Row> losses(fields, study.has_model, [](const Row& r) -> const CacheOutcome& { return *r.outcome; });
  losses.add_percent();
  losses.add_others();
  return make_table("tucker_sensitivity", {"layer"}, fields, rows);
}

}  // namespace kvviz::tables
