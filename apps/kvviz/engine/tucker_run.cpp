// SPDX-License-Identifier: MIT
#include "kvviz/engine/tucker_run.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/tucker_trials.hpp"

namespace kvviz {

namespace stats {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Ranks, heads, tokens, channels)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Tucker, ranks, core, factors, heads, tokens, channels, error,
                                   initial_error, sweeps)
}  // namespace stats

namespace analysis {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TuckerTensor, layer, half, asked, tucker, energy)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TuckerPart, layer, half, caches, sizes, asked, ranks, best, elements,
                                   stored, energy, lost, initial, best_lost, sweeps, energies)
}  // namespace analysis

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TuckerTally, key_lost, key_energy, value_lost, value_energy, ranks,
                                   tensors)

namespace {

using analysis::CacheOutcome;
using analysis::TuckerOutcome;
using analysis::TuckerPart;
using analysis::TuckerStudy;

/// Of keys in one basis.
struct BasisRecord {
  std::vector<TrialSums> trials;     ///< as in Plan
  std::vector<TuckerTally> tallies;  ///< of its rows
  std::vector<TuckerPart> parts;
  int64_t caches = 0;
  double tokens = 0;  ///< of the caches, sum
};

/// What is kept of one text.
struct TuckerRecord {
  std::vector<BasisRecord> bases;
  std::vector<analysis::TuckerTensor> components;  ///< of the first text
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BasisRecord, trials, tallies, parts, caches, tokens)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TuckerRecord, bases, components)

const char* name_of(KeyBasis basis) {
  return basis == KeyBasis::pre_rope ? "pre_rope" : "post_rope";
}

std::string sides_of(const TuckerOptions& o) {
  return o.sides == "both" ? "keys and values" : o.sides;
}

/// A row of the result, its trial, and what the trial adds up.
struct Judged {
  TuckerOutcome row;
  std::shared_ptr<TuckerTally> tally = std::make_shared<TuckerTally>();
};

TuckerOutcome finished(const Judged& judged, CacheOutcome outcome) {
  TuckerOutcome row = judged.row;
  const TuckerTally& t = *judged.tally;
  const auto error = [](double lost, double energy) { return energy > 0 ? std::sqrt(lost / energy) : 0; };
  row.key_error = error(t.key_lost, t.key_energy);
  row.value_error = error(t.value_lost, t.value_energy);
  for (size_t mode = 0; mode < row.ranks.size(); ++mode)
    row.ranks[mode] = t.tensors > 0 ? t.ranks[mode] / static_cast<double>(t.tensors) : 0;
  row.outcome = std::move(outcome);
  return row;
}

std::vector<TuckerOutcome> finished(std::span<const Judged> rows, std::span<CacheOutcome> outcomes) {
  std::vector<TuckerOutcome> all;
  for (size_t i = 0; i < rows.size(); ++i) all.push_back(finished(rows[i], std::move(outcomes[i])));
  return all;
}

/// All that is measured with keys in one basis: first the rows at the ranks asked for, then the sweep.
std::vector<Judged> rows_of(KeyBasis basis, bool sweep) {
  std::vector<Judged> rows;
  for (int step = 0; step <= (sweep ? analysis::tucker_steps : 0); ++step)
    for (const std::string_view family : analysis::tucker_families)
      rows.push_back({.row = {.family = std::string(family), .basis = basis, .step = step}});
  return rows;
}

/// The bases of keys that are judged, each in the way of its trials: the one asked for, and with --sweep the
/// other.
std::vector<TrialOptions> bases_of(const TuckerOptions& o, const ModelConfig& model) {
  TrialOptions how = trial_options(o);
  std::vector<TrialOptions> bases{how};
  if (!o.sweep || model.position != PositionKind::rope || o.sides == "values") return bases;
  how.basis = how.basis == KeyBasis::pre_rope ? KeyBasis::post_rope : KeyBasis::pre_rope;
  how.doing = cat("the same with keys ", how.basis == KeyBasis::pre_rope ? "before" : "after", " RoPE");
  bases.push_back(how);
  return bases;
}

/// What is measured in a basis: rows_of(), and in that asked for each layer alone.
struct Plan {
  std::vector<Judged> rows;
  int layers = 0;  ///< each alone

  Plan(const TrialOptions& how, const TuckerOptions& o, const ModelConfig& model)
      : rows(rows_of(how.basis, o.sweep)) {
    const bool own = how.basis == trial_options(o).basis;
    if (own && !o.no_sensitivity) layers = static_cast<int>(model.layers.size());
  }

  /// Which are of one text. They refer to the plan.
  std::vector<CacheTrial> trials(TuckerTrials& work) const {
    std::vector<CacheTrial> all;
    for (const Judged& one : rows)
      all.push_back({.change =
                         [&](const SplitText& split) {
                           return work.change(split.cache(), one.row.family, one.row.step, *one.tally);
                         },
                     .by_head = one.row.step == 0});
    for (int l = 0; l < layers; ++l)
      all.push_back(
          {.change = [&work, l](const SplitText& split) { return work.change_layer(split.cache(), l); },
           .by_head = false});
    return all;
  }

  std::vector<TrialName> names() const {
    std::vector<TrialName> all;
    for (const Judged& one : rows)
      all.push_back({cat(one.row.family, ":", one.row.step), one.row.family, ""});
    for (int l = 0; l < layers; ++l) all.push_back({cat("layer ", l), "layer", ""});
    return all;
  }
};

/// A basis over all texts.
struct Gathered {
  Plan plan;
  TrialOutcomes outcomes{plan.names()};
  std::vector<TuckerPart> parts;
  int64_t caches = 0;
  double tokens = 0;

  void add(const BasisRecord& record) {
    outcomes.add(record.trials);
    analysis::add(parts, record.parts);
    caches += record.caches, tokens += record.tokens;
    for (size_t i = 0; i < plan.rows.size(); ++i) kvviz::add(*plan.rows[i].tally, record.tallies[i]);
  }
};

/// The rows of a basis: those of step 0 are the outcome, the others the sweep.
void take(TuckerStudy& study, std::vector<TuckerOutcome> rows) {
  for (TuckerOutcome& row : rows) (row.step == 0 ? study.outcomes : study.sweep).push_back(std::move(row));
}

/// Of a text the outcomes at the ranks asked for, basis by basis, as they stand in the study.
void take_texts(TuckerStudy& study, const TextRun::Record& text, const TuckerRecord& record) {
  std::vector<TrialSums> sums;
  for (const BasisRecord& basis : record.bases)
    sums.insert(sums.end(), basis.trials.begin(),
                basis.trials.begin() + std::ssize(analysis::tucker_families));
  std::ranges::move(text_outcomes(text, sums), std::back_inserter(study.by_text));
}

TuckerStudy begun(const TuckerOptions& o) {
  return {.method = o.method, .sides = sides_of(o), .layer = static_cast<int>(o.layer)};
}

/// What a change took, of a cache that no model reads.
CacheOutcome without_model(const KvCache& cache, std::span<const ChangedLayer> changed) {
  CacheOutcome outcome{.texts = 1,
                       .key_error = 0,
                       .value_error = 0,
                       .tokens = static_cast<double>(cache.layers.front().tokens())};
  const auto layers = static_cast<double>(changed.size());
  for (size_t l = 0; l < changed.size(); ++l) {
    const ChangedLayer& one = changed[l];
    const double bytes = one.payload_bytes + one.metadata_bytes;
    outcome.layers.push_back({.layer = static_cast<int>(l),
                              .key_error = one.key_error,
                              .value_error = one.value_error,
                              .output_error = analysis::kNone,
                              .bytes = bytes});
    outcome.payload_bytes += one.payload_bytes, outcome.metadata_bytes += one.metadata_bytes;
    outcome.workspace_bytes = std::max(outcome.workspace_bytes, one.workspace_bytes);
    outcome.f16_bytes += static_cast<double>(2 * (one.key.numel() + one.value.numel()));
    outcome.key_error += one.key_error / layers, outcome.value_error += one.value_error / layers;
  }
  return outcome;
}

}  // namespace

TrialOptions trial_options(const TuckerOptions& o) {
  return {.prefix = o.prefix_tokens,
          .windows = o.windows,
          .basis = o.key_basis == "pre_rope" ? KeyBasis::pre_rope : KeyBasis::post_rope,
          .no_timings = true,
          .doing = "decomposing the caches",
          .quiet = o.call.quiet};
}

nlohmann::json measure_tucker(const TextRun::Work& text, const TuckerOptions& o, bool components) {
  const Decoder& decoder = text.runner.model.decoder;
  TuckerRecord record;
  for (TrialOptions& how : bases_of(o, decoder.config())) {
    how.quiet = text.quiet;
    const Plan plan(how, o, decoder.config());
    TuckerTrials work(o);
    auto sums = trial_sums(decoder, text.text, plan.trials(work), how);
    if (record.bases.empty() && components) record.components = work.components();
    record.bases.push_back({.trials = std::move(sums),
                            .tallies = {},
                            .parts = work.parts(),
                            .caches = work.caches(),
                            .tokens = work.tokens()});
    for (const Judged& one : plan.rows) record.bases.back().tallies.push_back(*one.tally);
  }
  return record;
}

TuckerStudy gather_tucker(const TextRun& texts, const TuckerOptions& o) {
  const ModelConfig& config = texts.config();
  const std::vector<TrialOptions> bases = bases_of(o, config);
  std::vector<Gathered> all;
  for (const TrialOptions& how : bases) all.push_back({.plan = Plan(how, o, config)});
  TuckerStudy study = begun(o);
  texts.each([&](const TextRun::Record& text) {
    auto record = text.body.get<TuckerRecord>();
    for (size_t b = 0; b < all.size(); ++b) all[b].add(record.bases.at(b));
    take_texts(study, text, record);
    if (!record.components.empty()) study.components = std::move(record.components);
  });
  study.basis = bases.front().basis;
  study.has_rope = config.position == PositionKind::rope;
  study.has_model = true;
  study.layers = static_cast<int>(config.layers.size());
  study.texts = texts.measured();
  study.caches = all.front().caches;
  study.tokens = all.front().tokens / static_cast<double>(study.caches);
  study.parts = all.front().parts;
  for (size_t b = 0; b < all.size(); ++b) {
    std::vector<CacheOutcome> outcomes = all[b].outcomes.outcomes(bases[b]);
    const auto rows = static_cast<std::ptrdiff_t>(all[b].plan.rows.size());
    take(study, finished(all[b].plan.rows, std::span(outcomes).first(static_cast<size_t>(rows))));
    std::move(outcomes.begin() + rows, outcomes.end(), std::back_inserter(study.sensitivity));
  }
  const CacheOutcome& first = study.outcomes.front().outcome;
  study.full_nll = first.nll - first.delta_nll;
  study.full_ppl = first.ppl - first.delta_ppl;
  if (all.size() == 1) return study;
  study.other_keys = all.back().parts;
  std::erase_if(study.other_keys, [](const auto& part) { return part.half != analysis::Half::key; });
  return study;
}

TuckerStudy tucker_of_cache(const KvCache& cache, const TuckerOptions& o) {
  require<UsageError>(!o.key_basis || *o.key_basis == name_of(cache.basis), "--key-basis ",
                      o.key_basis.value_or(""), ": the keys of the cache file are ", name_of(cache.basis),
                      ", and turning them needs a model; leave the option out");
  KvCache wide = cache;
  for (LayerKv& layer : wide.layers) {
    layer.key = widened(layer.key);
    layer.value = widened(layer.value);
  }
  TuckerTrials work(o);
  std::vector<TuckerOutcome> rows;
  for (const Judged& one : rows_of(cache.basis, false)) {
    const auto changed = work.change(wide, one.row.family, one.row.step, *one.tally);
    rows.push_back(finished(one, without_model(wide, changed)));
  }
  TuckerStudy study = begun(o);
  study.caches = work.caches();
  study.tokens = work.tokens();
  study.parts = work.parts();
  study.components = work.components();
  study.basis = cache.basis;
  study.has_rope = cache.pairing != RopePairing::none;
  study.layers = static_cast<int>(cache.layers.size());
  study.texts = 1;
  take(study, std::move(rows));
  return study;
}

void check_layer(const TuckerOptions& o, size_t layers) {
  require<UsageError>(o.layer >= 0 && o.layer < static_cast<int64_t>(layers), "--layer ", o.layer,
                      " is none of the ", layers, " layers; expected 0 to ",
                      static_cast<int64_t>(layers) - 1);
}

}  // namespace kvviz
