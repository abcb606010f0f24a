// SPDX-License-Identifier: MIT
#include "kvviz/engine/cache_trials.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/eval/compare.hpp"
#include "kvviz/eval/written_text.hpp"

namespace kvviz {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t few_predictions = 256;

/// One trial over all texts, added up window by window.
struct Sum {
  std::vector<PairedScores> scores;
  std::vector<analysis::CacheOutcomeLayer> layers;
  double payload = 0, metadata = 0, workspace = 0, f16 = 0, tokens = 0, seconds = 0;
  int64_t windows = 0;
};

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void add_change(Sum& sum, std::span<const ChangedLayer> changed, std::span<const LayerKv> cache) {
  sum.layers.resize(changed.size());
  double workspace = 0;
  for (size_t l = 0; l < changed.size(); ++l) {
    analysis::CacheOutcomeLayer& into = sum.layers[l];
    into.layer = static_cast<int>(l);
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

void add_errors(Sum& sum, const ContinuedRun& run) {
  for (size_t l = 0; l < run.output_error.size(); ++l) {
    std::vector<double>& into = sum.layers[l].head_output_error;
    into.resize(run.output_error[l].size(), 0);
    for (size_t h = 0; h < into.size(); ++h) into[h] += run.output_error[l][h];
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
analysis::CacheOutcome averaged(const CacheTrial& trial, const Sum& sum) {
  const auto windows = static_cast<double>(sum.windows);
  analysis::CacheOutcome o{.method = trial.name,
                           .family = trial.family,
                           .summary = trial.summary,
                           .key_error = 0,
                           .value_error = 0,
                           .payload_bytes = sum.payload / windows,
                           .metadata_bytes = sum.metadata / windows,
                           .workspace_bytes = sum.workspace / windows,
                           .f16_bytes = sum.f16 / windows,
                           .tokens = sum.tokens / windows,
                           .layers = sum.layers};
  const auto layers = static_cast<double>(o.layers.size());
  for (analysis::CacheOutcomeLayer& layer : o.layers) {
    for (double* const sums : {&layer.key_error, &layer.value_error, &layer.bytes}) *sums /= windows;
    for (double& error : layer.head_output_error) error /= windows;
    o.key_error += layer.key_error / layers;
    o.value_error += layer.value_error / layers;
  }
  return o;
}

analysis::CacheOutcome outcome_of(const CacheTrial& trial, const Sum& sum) {
  analysis::CacheOutcome o = averaged(trial, sum);
  const QualityLoss loss = quality_loss(sum.scores);
  o.texts = loss.texts;
  o.predictions = loss.tokens;
  o.nll = loss.nll;
  o.delta_nll = loss.delta_nll;
  o.delta_nll_se = loss.delta_nll_se;
  o.ppl = loss.ppl;
  o.delta_ppl = loss.delta_ppl;
  o.delta_ppl_se = loss.delta_ppl_se;
  o.kl = loss.kl;
  o.kl_max = loss.kl_max;
  o.top1_agreement = loss.top1_agreement;
  o.output_error = 0;
  for (analysis::CacheOutcomeLayer& layer : o.layers) {
    layer.output_error = mean(layer.head_output_error);
    o.output_error += layer.output_error / static_cast<double>(o.layers.size());
  }
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
  Scoring(const Decoder& decoder, const at::Tensor& full, std::span<const int32_t> ids, std::span<Sum> sums)
      : decoder_(decoder), full_(full), ids_(ids), sums_(sums) {}

  /// Of the next trial.
  void add(const at::Tensor& hidden) {
    hidden_.push_back(hidden);
    if (std::ssize(hidden_) * static_cast<int64_t>(hidden.nbytes()) >= most_bytes) finish();
  }

  /// Adds the scores to the last entry of each sum's.
  void finish() {
    if (hidden_.empty()) return;
    const auto compared = compare_predictions(decoder_, full_, hidden_, ids_);
    for (const PairedScores& scores : compared) append(sums_[first_++].scores.back(), scores);
    hidden_.clear();
  }

 private:
  static constexpr int64_t most_bytes = int64_t{1} << 28;
  const Decoder& decoder_;
  const at::Tensor& full_;
  std::span<const int32_t> ids_;
  std::span<Sum> sums_;
  size_t first_ = 0;  ///< trial of the first of hidden_
  std::vector<at::Tensor> hidden_;
};

/// The trials on one window of a text.
void run_window(const Decoder& decoder, const SplitText& split, std::span<const CacheTrial> trials,
                std::span<Sum> sums, const std::function<void()>& done) {
  Scoring scoring(decoder, split.hidden(), split.continuation(), sums);
  for (size_t i = 0; i < trials.size(); ++i) {
    const auto start = Clock::now();
    const auto changed = trials[i].change(split);
    sums[i].seconds += std::chrono::duration<double>(Clock::now() - start).count();
    add_change(sums[i], changed, split.cache().layers);
    const ContinuedRun run = split.run(changed);
    add_errors(sums[i], run);
    scoring.add(run.hidden);
    done();
  }
  scoring.finish();
}

/// The same with a text's tokens changed as they are written.
void run_written(const Decoder& decoder, const WrittenText& text, std::span<const CacheTrial> trials,
                 std::span<Sum> sums, const std::function<void()>& done) {
  Scoring scoring(decoder, text.hidden(), text.ids(), sums);
  for (size_t i = 0; i < trials.size(); ++i) {
    std::vector<ChangedLayer> changed;
    std::vector<LayerKv> cache;
    const ContinuedRun run = text.run([&](size_t layer, const LayerKv& kv) {
      const auto start = Clock::now();
      changed.push_back(trials[i].write(layer, kv));
      sums[i].seconds += std::chrono::duration<double>(Clock::now() - start).count();
      cache.push_back(kv);
      return std::pair{changed.back().key, changed.back().value};
    });
    add_change(sums[i], changed, cache);
    add_errors(sums[i], run);
    scoring.add(run.hidden);
    done();
  }
  scoring.finish();
}

}  // namespace

std::vector<TrialWindow> windows_of(const TextInput& text, const TrialOptions& o) {
  const auto tokens = std::ssize(text.tokens.ids);
  require(tokens >= 4, text.description, " has ", tokens, tokens == 1 ? " token" : " tokens",
          "; a prefix and what is predicted behind it take at least 4");
  const int64_t prefix = o.prefix > 0 ? o.prefix : tokens / 2;
  require<UsageError>(prefix >= 1 && prefix <= tokens - 2, "--prefix-tokens ", prefix,
                      " leaves nothing to predict of ", text.description, ", which has ", tokens,
                      " tokens; expected at most ", tokens - 2);
  const int64_t rest = tokens - prefix;
  require<UsageError>(rest >= 2 * o.windows, "--windows ", o.windows, " cuts the ", rest,
                      " tokens after the prefix of ", text.description,
                      " into pieces of less than 2; expected at most ", rest / 2);
  std::vector<TrialWindow> windows;
  for (int64_t w = 0; w < o.windows; ++w)
    windows.push_back({prefix + w * rest / o.windows, prefix + (w + 1) * rest / o.windows});
  return windows;
}

std::vector<analysis::CacheOutcome> run_trials(const Runner& runner, std::span<const TextInput> texts,
                                               std::span<const CacheTrial> trials, const TrialOptions& o) {
  require<UsageError>(
      o.basis == KeyBasis::post_rope || runner.model.decoder.config().position == PositionKind::rope,
      "--key-basis pre_rope: the model has no RoPE; leave the option out");
  const Decoder& decoder = runner.model.decoder;
  std::vector<Sum> sums(trials.size());
  Progress progress(o.doing, std::ssize(texts) * o.windows * std::ssize(trials), o.quiet);
  const auto count = [&progress, done = int64_t{0}]() mutable { progress.update(++done); };
  for (const TextInput& text : texts) {
    for (Sum& sum : sums) sum.scores.emplace_back();
    if (o.streaming) {
      run_written(decoder, WrittenText(decoder, text.tokens.ids, o.basis), trials, sums, count);
      continue;
    }
    for (const TrialWindow window : windows_of(text, o)) {
      const auto ids = std::span<const int32_t>(text.tokens.ids).first(static_cast<size_t>(window.end));
      run_window(decoder, SplitText(decoder, ids, window.prefix, o.basis), trials, sums, count);
    }
  }
  std::vector<analysis::CacheOutcome> outcomes;
  for (size_t i = 0; i < trials.size(); ++i) {
    outcomes.push_back(outcome_of(trials[i], sums[i]));
    if (i == 0 && !o.quiet) warn_of_few(outcomes[0].predictions, o.doing);
    if (!o.no_timings) outcomes.back().change_seconds = sums[i].seconds;
  }
  return outcomes;
}

analysis::CacheOutcome coding_outcome(const CacheTrial& trial, std::span<const ChangedLayer> changed,
                                      std::span<const LayerKv> cache) {
  Sum sum;
  add_change(sum, changed, cache);
  return averaged(trial, sum);
}

}  // namespace kvviz
