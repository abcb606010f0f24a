// SPDX-License-Identifier: MIT
#include "kvviz/engine/cache_trials.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/core/seconds_since.hpp"
#include "kvviz/engine/loss_fields.hpp"
#include "kvviz/eval/written_text.hpp"

namespace kvviz {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t few_predictions = 256;

/// One trial on one text.
struct Trial {
  TrialSums sums;
  PairedScores scores;
};

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void add_change(TrialSums& sum, std::span<const ChangedLayer> changed, std::span<const LayerKv> cache) {
  sum.layers.resize(changed.size());
  double workspace = 0;
  for (size_t l = 0; l < changed.size(); ++l) {
    TrialLayerSums& into = sum.layers[l];
    into.key_error += changed[l].key_error;
    into.value_error += changed[l].value_error;
    into.bytes += changed[l].payload_bytes + changed[l].metadata_bytes;
    sum.payload += changed[l].payload_bytes;
    sum.metadata += changed[l].metadata_bytes;
    sum.f16 += static_cast<double>(2 * (cache[l].key.numel() + cache[l].value.numel()));
    workspace = std::max(workspace, changed[l].workspace_bytes);
  }
  sum.workspace += workspace;
  sum.tokens += static_cast<double>(cache.front().tokens());
  ++sum.windows;
}

void add_to(std::vector<double>& sums, const std::vector<double>& values) {
  sums.resize(std::max(sums.size(), values.size()), 0);
  for (size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
}

void add_errors(TrialSums& sum, const ContinuedRun& run, bool by_head) {
  for (size_t l = 0; l < run.output_error.size(); ++l) {
    sum.layers[l].output_error += mean(run.output_error[l]);
    if (by_head) add_to(sum.layers[l].head_output_error, run.output_error[l]);
  }
}

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

void append(PairedScores& to, const PairedScores& from) {
  append(to.nll_full, from.nll_full);
  append(to.nll, from.nll);
  append(to.kl, from.kl);
  append(to.agrees, from.agrees);
}

/// Bytes and errors: means over the windows.
analysis::CacheOutcome averaged(const TrialName& name, const TrialSums& sum) {
  const auto windows = static_cast<double>(sum.windows);
  analysis::CacheOutcome o{.method = name.name,
                           .family = name.family,
                           .summary = name.summary,
                           .key_error = 0,
                           .value_error = 0,
                           .payload_bytes = sum.payload / windows,
                           .metadata_bytes = sum.metadata / windows,
                           .workspace_bytes = sum.workspace / windows,
                           .f16_bytes = sum.f16 / windows,
                           .tokens = sum.tokens / windows};
  const auto layers = static_cast<double>(sum.layers.size());
  for (const TrialLayerSums& layer : sum.layers) {
    o.layers.push_back({.layer = static_cast<int>(o.layers.size()),
                        .key_error = layer.key_error / windows,
                        .value_error = layer.value_error / windows,
                        .output_error = layer.output_error / windows,
                        .bytes = layer.bytes / windows,
                        .head_output_error = layer.head_output_error});
    for (double& error : o.layers.back().head_output_error) error /= windows;
    o.key_error += o.layers.back().key_error / layers;
    o.value_error += o.layers.back().value_error / layers;
  }
  return o;
}

analysis::CacheOutcome outcome_of(const TrialName& name, const TrialSums& sum,
                                  std::span<const BlockScores> scores) {
  analysis::CacheOutcome o = averaged(name, sum);
  const QualityLoss loss = quality_loss(scores);
  set_loss(o, loss);
  o.texts = loss.texts;
  o.output_error = 0;
  for (const analysis::CacheOutcomeLayer& layer : o.layers)
    o.output_error += layer.output_error / static_cast<double>(o.layers.size());
  return o;
}

void warn_of_few(int64_t predictions, const std::string& doing) {
  if (predictions >= few_predictions) return;
  std::fprintf(stderr,
               "kvviz: %s: %lld prediction%s can tell little; take longer or more texts (%lld predictions or "
               "more)\n",
               doing.c_str(), static_cast<long long>(predictions), predictions == 1 ? "" : "s",
               static_cast<long long>(few_predictions));
}

/// Compares what trials make of the same ids with the full cache, some of them at a time: as many as fit in
/// memory share the full cache's logits.
class Scoring {
 public:
  Scoring(const Decoder& decoder, const at::Tensor& full, std::span<const int32_t> ids,
          std::span<Trial> trials)
      : decoder_(decoder), full_(full), ids_(ids), trials_(trials) {}

  /// Of the next trial.
  void add(const at::Tensor& hidden) {
    hidden_.push_back(hidden);
    if (std::ssize(hidden_) * static_cast<int64_t>(hidden.nbytes()) >= most_bytes) finish();
  }

  /// Adds the scores to each trial's.
  void finish() {
    if (hidden_.empty()) return;
    const auto compared = compare_predictions(decoder_, full_, hidden_, ids_);
    for (const PairedScores& scores : compared) append(trials_[first_++].scores, scores);
    hidden_.clear();
  }

 private:
  static constexpr int64_t most_bytes = int64_t{1} << 28;
  const Decoder& decoder_;
  const at::Tensor& full_;
  std::span<const int32_t> ids_;
  std::span<Trial> trials_;
  size_t first_ = 0;  ///< trial of the first of hidden_
  std::vector<at::Tensor> hidden_;
};

/// The trials on one window of a text.
void run_window(const Decoder& decoder, const SplitText& split, std::span<const CacheTrial> trials,
                std::span<Trial> all, const std::function<void()>& done) {
  Scoring scoring(decoder, split.hidden(), split.continuation(), all);
  for (size_t i = 0; i < trials.size(); ++i) {
    const auto start = Clock::now();
    const auto changed = trials[i].change(split);
    all[i].sums.seconds += seconds_since(start);
    add_change(all[i].sums, changed, split.cache().layers);
    const ContinuedRun run = split.run(changed);
    add_errors(all[i].sums, run, trials[i].by_head);
    scoring.add(run.hidden);
    done();
  }
  scoring.finish();
}

/// The same with a text's tokens changed as they are written.
void run_written(const Decoder& decoder, const WrittenText& text, std::span<const CacheTrial> trials,
                 std::span<Trial> all, const std::function<void()>& done) {
  Scoring scoring(decoder, text.hidden(), text.ids(), all);
  for (size_t i = 0; i < trials.size(); ++i) {
    std::vector<ChangedLayer> changed;
    std::vector<LayerKv> cache;
    const ContinuedRun run = text.run([&](size_t layer, const LayerKv& kv) {
      const auto start = Clock::now();
      changed.push_back(trials[i].write(layer, kv));
      all[i].sums.seconds += seconds_since(start);
      cache.push_back(kv);
      return std::pair{changed.back().key, changed.back().value};
    });
    add_change(all[i].sums, changed, cache);
    add_errors(all[i].sums, run, trials[i].by_head);
    scoring.add(run.hidden);
    done();
  }
  scoring.finish();
}

}  // namespace

std::vector<TrialSums> trial_sums(const Decoder& decoder, const TextInput& text,
                                  std::span<const CacheTrial> trials, const TrialOptions& o) {
  const std::span<const int32_t> ids = text.tokens.ids;
  std::vector<Trial> all(trials.size());
  Progress progress(o.doing, (o.streaming ? 1 : o.windows) * std::ssize(trials), o.quiet);
  const auto count = [&progress, done = int64_t{0}]() mutable { progress.update(++done); };
  if (o.streaming) {
    run_written(decoder, WrittenText(decoder, ids, o.basis), trials, all, count);
  } else {
    for (const TrialWindow window : windows_of(text.description, std::ssize(ids), o))
      run_window(decoder,
                 SplitText(decoder, ids.first(static_cast<size_t>(window.end)), window.prefix, o.basis),
                 trials, all, count);
  }
  std::vector<TrialSums> sums;
  for (Trial& trial : all) {
    sums.push_back(std::move(trial.sums));
    sums.back().scores = block_scores(trial.scores);
    if (o.no_timings) sums.back().seconds = 0;
  }
  return sums;
}

TrialOutcomes::TrialOutcomes(std::vector<TrialName> names)
    : names_(std::move(names)), sums_(names_.size()), scores_(names_.size()) {}

void TrialOutcomes::add(std::span<const TrialSums> text) {
  require(text.size() == names_.size(), "the records hold ", text.size(), " trials, expected ",
          names_.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const TrialSums& one = text[i];
    TrialSums& sum = sums_[i];
    sum.layers.resize(one.layers.size());
    for (size_t l = 0; l < one.layers.size(); ++l) {
      TrialLayerSums& layer = sum.layers[l];
      layer.key_error += one.layers[l].key_error;
      layer.value_error += one.layers[l].value_error;
      layer.output_error += one.layers[l].output_error;
      layer.bytes += one.layers[l].bytes;
      add_to(layer.head_output_error, one.layers[l].head_output_error);
    }
    sum.payload += one.payload, sum.metadata += one.metadata, sum.workspace += one.workspace;
    sum.f16 += one.f16, sum.tokens += one.tokens, sum.seconds += one.seconds;
    sum.windows += one.windows;
    scores_[i].push_back(one.scores);
  }
}

std::vector<analysis::CacheOutcome> TrialOutcomes::outcomes(const TrialOptions& o) const {
  std::vector<analysis::CacheOutcome> outcomes;
  for (size_t i = 0; i < names_.size(); ++i) {
    outcomes.push_back(outcome_of(names_[i], sums_[i], scores_[i]));
    if (i == 0 && !o.quiet) warn_of_few(outcomes[0].predictions, o.doing);
    if (!o.no_timings) outcomes.back().change_seconds = sums_[i].seconds;
  }
  return outcomes;
}

std::vector<analysis::TextOutcome> text_outcomes(const TextRun::Record& text,
                                                 std::span<const TrialSums> sums) {
  std::vector<analysis::TextOutcome> outcomes;
  for (const TrialSums& sum : sums) {
    const QualityLoss loss = quality_loss(std::span(&sum.scores, 1));
    outcomes.push_back({.text = text.index,
                        .name = text.text.name,
                        .outcome = outcomes.size(),
                        .tokens = text.text.tokens,
                        .predictions = loss.tokens,
                        .nll = loss.nll,
                        .delta_nll = loss.delta_nll,
                        .delta_nll_se = loss.delta_nll_se,
                        .delta_ppl_percent = 100 * loss.delta_ppl / loss.ppl_full,
                        .kl = loss.kl,
                        .top1_agreement = loss.top1_agreement,
                        .bytes_per_token = (sum.payload + sum.metadata) / sum.tokens});
  }
  return outcomes;
}

analysis::CacheOutcome coding_outcome(const TrialName& name, std::span<const ChangedLayer> changed,
                                      std::span<const LayerKv> cache) {
  TrialSums sum;
  add_change(sum, changed, cache);
  return averaged(name, sum);
}

}  // namespace kvviz
