// SPDX-License-Identifier: MIT
#include "kvviz/engine/tucker_run.hpp"

#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/tucker_trials.hpp"

namespace kvviz {
namespace {

using analysis::CacheOutcome;
using analysis::TuckerOutcome;
using analysis::TuckerStudy;

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

/// All that is measured with keys in one basis: first the rows at the ranks asked for, then the sweep.
std::vector<Judged> rows_of(KeyBasis basis, bool sweep) {
  std::vector<Judged> rows;
  for (int step = 0; step <= (sweep ? analysis::tucker_steps : 0); ++step)
    for (const std::string_view family : analysis::tucker_families)
      rows.push_back({.row = {.family = std::string(family), .basis = basis, .step = step}});
  return rows;
}

struct Measured {
  std::vector<TuckerOutcome> rows;
  std::vector<CacheOutcome> sensitivity;
};

Measured measure(const Runner& runner, std::span<const TextInput> texts, TuckerTrials& work,
                 const TuckerOptions& o, const TrialOptions& how) {
  const std::vector<Judged> rows = rows_of(how.basis, o.sweep);
  const bool own = how.basis == trial_options(o).basis;
  const int layers =
      own && !o.no_sensitivity ? static_cast<int>(runner.model.decoder.config().layers.size()) : 0;
  std::vector<CacheTrial> trials;
  for (const Judged& one : rows)
    trials.push_back({.name = cat(one.row.family, ":", one.row.step),
                      .family = one.row.family,
                      .summary = "",
                      .change = [&work, &one](const SplitText& split) {
                        return work.change(split.cache(), one.row.family, one.row.step, *one.tally);
                      }});
  for (int l = 0; l < layers; ++l)
    trials.push_back(
        {.name = cat("layer ", l),
         .family = "layer",
         .summary = "",
         .change = [&work, l](const SplitText& split) { return work.change_layer(split.cache(), l); }});
  std::vector<CacheOutcome> outcomes = run_trials(runner, texts, trials, how);
  Measured measured;
  for (size_t i = 0; i < rows.size(); ++i) measured.rows.push_back(finished(rows[i], std::move(outcomes[i])));
  for (size_t i = rows.size(); i < outcomes.size(); ++i)
    measured.sensitivity.push_back(std::move(outcomes[i]));
  return measured;
}

/// The rows of a basis: those of step 0 are the outcome, the others the sweep.
void take(TuckerStudy& study, std::vector<TuckerOutcome> rows) {
  for (TuckerOutcome& row : rows) (row.step == 0 ? study.outcomes : study.sweep).push_back(std::move(row));
}

TuckerStudy begun(const TuckerOptions& o, const TuckerTrials& work) {
  return {.method = o.method,
          .sides = sides_of(o),
          .caches = work.caches(),
          .tokens = work.tokens() / static_cast<double>(work.caches()),
          .parts = work.parts(),
          .layer = static_cast<int>(o.layer),
          .components = work.components()};
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

TuckerStudy tucker_of_texts(const Runner& runner, std::span<const TextInput> texts, const TuckerOptions& o) {
  TrialOptions how = trial_options(o);
  TuckerTrials work(o);
  Measured own = measure(runner, texts, work, o, how);
  TuckerStudy study = begun(o, work);
  const ModelConfig& config = runner.model.decoder.config();
  study.basis = how.basis;
  study.has_rope = config.position == PositionKind::rope;
  study.has_model = true;
  study.layers = static_cast<int>(config.layers.size());
  study.texts = std::ssize(texts);
  study.sensitivity = std::move(own.sensitivity);
  const CacheOutcome& first = own.rows.front().outcome;
  study.full_nll = first.nll - first.delta_nll;
  study.full_ppl = first.ppl - first.delta_ppl;
  take(study, std::move(own.rows));
  if (!o.sweep || !study.has_rope || o.sides == "values") return study;
  how.basis = study.basis == KeyBasis::pre_rope ? KeyBasis::post_rope : KeyBasis::pre_rope;
  how.doing = cat("the same with keys ", how.basis == KeyBasis::pre_rope ? "before" : "after", " RoPE");
  TuckerTrials other(o);
  take(study, measure(runner, texts, other, o, how).rows);
  study.other_keys = other.parts();
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
  TuckerStudy study = begun(o, work);
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
