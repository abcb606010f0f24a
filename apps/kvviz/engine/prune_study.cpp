// SPDX-License-Identifier: MIT
#include "kvviz/engine/prune_study.hpp"

#include <algorithm>
#include <iterator>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/prune_decode.hpp"
#include "kvviz/engine/prune_metrics.hpp"
#include "kvviz/stats/mean.hpp"

namespace kvviz {
namespace {

/// What the caches of one removal lack, added up over the windows of a text.
struct Zeros {
  double elements = 0, keys = 0, values = 0;
  bool fewer_tokens = false;  ///< some KV head holds less than the prefix
};

/// Of a token decoded behind one removal's cache; as in PruneVariant.
struct Decoding {
  double store_bytes = analysis::kNone, full_store_bytes = analysis::kNone;
  int64_t steps = 0;
  analysis::DecodeTime time, full_time;
};

}  // namespace

namespace analysis {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DecodeTime, median, lower, upper)
}  // namespace analysis

namespace {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Zeros, elements, keys, values, fewer_tokens)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Decoding, store_bytes, full_store_bytes, steps, time, full_time)

/// What is kept of one text.
struct PruneRecord {
  int64_t tokens = 0;                        ///< the continuation included
  std::vector<TrialSums> trials;             ///< [removal]
  std::vector<Zeros> zeros;                  ///< [removal]; empty: of a sweep
  std::vector<Decoding> decoding;            ///< [removal]; empty: not timed
  std::vector<std::vector<double>> metrics;  ///< [target][metric], of a sweep
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PruneRecord, tokens, trials, zeros, decoding, metrics)

std::vector<ChangedLayer> changed(const SplitText& split, const ModelConfig& model, const Removal& removal,
                                  Zeros& zeros) {
  RemovedCache cache = removed(split.cache(), model, removal);
  zeros.elements += cache.elements;
  zeros.keys += cache.key_zeros, zeros.values += cache.value_zeros;
  for (const ChangedLayer& layer : cache.layers)
    zeros.fewer_tokens = zeros.fewer_tokens || !layer.positions.empty();
  return std::move(cache.layers);
}

TrialName name_of(const NamedRemoval& named) {
  return {named.name, named.name.substr(0, named.name.find(':')), named.summary};
}

/// Perplexity and loss with the cache as it is, of any outcome.
template <class Study>
void set_full(Study& study, const analysis::CacheOutcome& outcome) {
  study.full_nll = outcome.nll - outcome.delta_nll;
  study.full_ppl = outcome.ppl - outcome.delta_ppl;
}

analysis::SweepKind kind_of(const PruneOptions& o) {
  return o.sweep == "layers"  ? analysis::SweepKind::layers
         : o.sweep == "heads" ? analysis::SweepKind::heads
                              : analysis::SweepKind::channels;
}

std::vector<analysis::SweepItem> items_of(std::span<const SweepTarget> targets) {
  std::vector<analysis::SweepItem> items;
  for (const SweepTarget& target : targets) items.push_back(target.item);
  return items;
}

std::vector<Decoding> timed_decoding(const Decoder& decoder, const PruneText& prepared, int64_t steps,
                                     std::span<const NamedRemoval> removals, std::span<const Zeros> zeros) {
  const TextInput& text = prepared.text;
  const auto tokens = std::ssize(text.tokens.ids);
  const int64_t prefix = windows_of(text.description, tokens, prepared.trials).front().prefix;
  std::vector<analysis::PruneVariant> variants(removals.size());
  for (size_t i = 0; i < variants.size(); ++i) variants[i].smaller_store = zeros[i].fewer_tokens;
  time_decoding(decoder, text.tokens.ids, removals,
                {.prefix = prefix, .steps = steps, .quiet = prepared.trials.quiet}, variants);
  std::vector<Decoding> all;
  for (const analysis::PruneVariant& v : variants)
    all.push_back({v.store_bytes, v.full_store_bytes, v.steps, v.time, v.full_time});
  return all;
}

}  // namespace

TrialOptions trial_options(const PruneOptions& o) {
  return {.prefix = o.prefix_tokens,
          .windows = o.windows,
          .no_timings = o.no_timings,
          .doing = "pruning the caches",
          .quiet = o.call.quiet};
}

PruneText prune_text(const TextRun::Work& work, const PruneOptions& o) {
  PruneText prepared{work.text, trial_options(o)};
  prepared.trials.quiet = work.quiet;
  if (o.continuation.empty()) return prepared;
  TextInput& text = prepared.text;
  std::vector<int32_t>& ids = text.tokens.ids;
  const std::vector<int32_t> behind = work.runner.tokenizer->encode(o.continuation);
  prepared.trials.prefix = std::ssize(ids);
  const int64_t context = work.runner.model.decoder.config().context;
  const auto all = std::ssize(ids) + std::ssize(behind);
  require(all <= context, text.description, " and the continuation have ", all,
          " tokens; the model's context is ", context);
  ids.insert(ids.end(), behind.begin(), behind.end());
  text.description += " with a continuation";
  return prepared;
}

int64_t prefix_of(const batch::PlannedText& text, const PruneOptions& o) {
  if (!o.continuation.empty()) return text.tokens;
  return windows_of(text.name, text.tokens, trial_options(o)).front().prefix;
}

nlohmann::json measure_prune(const TextRun::Work& work, std::span<const NamedRemoval> removals,
                             const PruneOptions& o, bool timed) {
  const Decoder& decoder = work.runner.model.decoder;
  const PruneText prepared = prune_text(work, o);
  PruneRecord record{.tokens = std::ssize(prepared.text.tokens.ids),
                     .trials = {},
                     .zeros = std::vector<Zeros>(removals.size()),
                     .decoding = {},
                     .metrics = {}};
  std::vector<CacheTrial> trials;
  for (size_t i = 0; i < removals.size(); ++i)
    trials.push_back({.change = [&, i](const SplitText& split) {
      return changed(split, decoder.config(), removals[i].removal, record.zeros[i]);
    }});
  record.trials = trial_sums(decoder, prepared.text, trials, prepared.trials);
  if (timed) record.decoding = timed_decoding(decoder, prepared, o.decode_steps, removals, record.zeros);
  return record;
}

analysis::PruningStudy gather_prune(const TextRun& texts, std::span<const NamedRemoval> removals,
                                    const PruneOptions& o) {
  std::vector<TrialName> names;
  for (const NamedRemoval& named : removals) names.push_back(name_of(named));
  TrialOutcomes sums(names);
  std::vector<Zeros> zeros(removals.size());
  analysis::PruningStudy study{.layers = static_cast<int>(texts.config().layers.size()),
                               .texts = texts.measured()};
  study.variants.resize(removals.size());
  texts.each([&](const TextRun::Record& text) {
    const auto record = text.body.get<PruneRecord>();
    sums.add(record.trials);
    std::ranges::move(text_outcomes(text, record.trials), std::back_inserter(study.by_text));
    study.tokens += record.tokens;
    for (size_t i = 0; i < zeros.size(); ++i) {
      const Zeros& one = record.zeros[i];
      zeros[i].elements += one.elements, zeros[i].keys += one.keys, zeros[i].values += one.values;
      zeros[i].fewer_tokens = zeros[i].fewer_tokens || one.fewer_tokens;
    }
    for (size_t i = 0; i < record.decoding.size(); ++i) {
      const Decoding& one = record.decoding[i];
      analysis::PruneVariant& variant = study.variants[i];
      variant.store_bytes = one.store_bytes, variant.full_store_bytes = one.full_store_bytes;
      variant.steps = one.steps;
      variant.time = one.time, variant.full_time = one.full_time;
    }
  });
  auto outcomes = sums.outcomes(trial_options(o));
  set_full(study, outcomes.front());
  for (size_t i = 0; i < removals.size(); ++i) {
    study.variants[i].outcome = std::move(outcomes[i]);
    study.variants[i].key_zeros = zeros[i].keys / zeros[i].elements;
    study.variants[i].value_zeros = zeros[i].values / zeros[i].elements;
    study.variants[i].smaller_store = zeros[i].fewer_tokens;
  }
  return study;
}

nlohmann::json measure_sweep(const TextRun::Work& work, std::span<const SweepTarget> targets,
                             const PruneOptions& o) {
  const Decoder& decoder = work.runner.model.decoder;
  const PruneText prepared = prune_text(work, o);
  const std::vector<int32_t>& ids = prepared.text.tokens.ids;
  const int64_t prefix =
      windows_of(prepared.text.description, std::ssize(ids), prepared.trials).front().prefix;
  std::vector<CacheTrial> trials;
  for (const SweepTarget& target : targets)
    trials.push_back({.change =
                          [&](const SplitText& split) {
                            Zeros unused;
                            return changed(split, decoder.config(), target.named.removal, unused);
                          },
                      .by_head = false});
  return PruneRecord{.tokens = std::ssize(ids),
                     .trials = trial_sums(decoder, prepared.text, trials, prepared.trials),
                     .zeros = {},
                     .decoding = {},
                     .metrics = sweep_metrics(decoder, std::span(ids).first(static_cast<size_t>(prefix)),
                                              items_of(targets), kind_of(o))};
}

analysis::SweepStudy gather_sweep(const TextRun& texts, std::span<const SweepTarget> targets,
                                  const PruneOptions& o) {
  analysis::SweepStudy study{.kind = kind_of(o),
                             .layers = static_cast<int>(texts.config().layers.size()),
                             .texts = texts.measured(),
                             .metrics = metric_names(kind_of(o)),
                             .items = items_of(targets)};
  std::vector<TrialName> names;
  for (const SweepTarget& target : targets) names.push_back(name_of(target.named));
  TrialOutcomes sums(names);
  std::vector<std::vector<stats::Mean>> metrics(study.items.size(),
                                                std::vector<stats::Mean>(study.metrics.size()));
  texts.each([&](const TextRun::Record& text) {
    const auto record = text.body.get<PruneRecord>();
    sums.add(record.trials);
    study.tokens += record.tokens;
    for (size_t i = 0; i < study.items.size(); ++i)
      for (size_t m = 0; m < study.metrics.size(); ++m) metrics[i][m].add(record.metrics[i][m]);
  });
  auto outcomes = sums.outcomes(trial_options(o));
  set_full(study, outcomes.front());
  for (size_t i = 0; i < study.items.size(); ++i) {
    study.items[i].outcome = std::move(outcomes[i]);
    for (const stats::Mean& metric : metrics[i]) study.items[i].metrics.push_back(metric.get());
  }
  study.correlations = correlations_of(study);
  return study;
}

}  // namespace kvviz
