// SPDX-License-Identifier: MIT
#include "kvviz/engine/prune_study.hpp"

#include <algorithm>
#include <memory>
#include <numeric>

#include "kvviz/core/error.hpp"
#include "kvviz/engine/prune_decode.hpp"
#include "kvviz/engine/prune_metrics.hpp"

namespace kvviz {
namespace {

/// What the caches of one removal lack, added up over windows.
struct Zeros {
  double elements = 0, keys = 0, values = 0;
  bool fewer_tokens = false;  ///< some KV head holds less than the prefix
};

CacheTrial trial_of(const NamedRemoval& named, const ModelConfig& model, std::shared_ptr<Zeros> zeros) {
  return {.name = named.name,
          .family = named.name.substr(0, named.name.find(':')),
          .summary = named.summary,
          .change = [&removal = named.removal, &model, zeros](const SplitText& split) {
            RemovedCache cache = removed(split.cache(), model, removal);
            zeros->elements += cache.elements;
            zeros->keys += cache.key_zeros, zeros->values += cache.value_zeros;
            for (const ChangedLayer& layer : cache.layers)
              zeros->fewer_tokens = zeros->fewer_tokens || !layer.positions.empty();
            return std::move(cache.layers);
          }};
}

int64_t tokens_of(std::span<const TextInput> texts) {
  int64_t tokens = 0;
  for (const TextInput& text : texts) tokens += std::ssize(text.tokens.ids);
  return tokens;
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

}  // namespace

TrialOptions trial_options(const PruneOptions& o) {
  return {.prefix = o.prefix_tokens,
          .windows = o.windows,
          .no_timings = o.no_timings,
          .doing = "pruning the caches",
          .quiet = o.call.quiet};
}

std::vector<TextInput> with_continuation(std::vector<TextInput> texts, const PruneOptions& o,
                                         const OpenedFolder& opened, TrialOptions& trials) {
  if (o.continuation.empty()) return texts;
  const std::vector<int32_t> behind = opened.tokenizer->encode(o.continuation);
  trials.prefix = std::ssize(texts.front().tokens.ids);
  for (TextInput& text : texts) {
    TokenInfo& tokens = text.tokens;
    require<UsageError>(std::ssize(tokens.ids) == trials.prefix,
                        "with --continuation every text is a prefix, and prefixes have one length; got ",
                        trials.prefix, " and ", tokens.ids.size(), " tokens. Give one text, or --seq-len");
    const auto all = std::ssize(tokens.ids) + std::ssize(behind);
    require(all <= opened.config.context, text.description, " and the continuation have ", all,
            " tokens; the model's context is ", opened.config.context);
    tokens.ids.insert(tokens.ids.end(), behind.begin(), behind.end());
    for (const int32_t id : behind) tokens.text.push_back(opened.tokenizer->piece(id));
    tokens.positions.resize(tokens.ids.size());
    std::iota(tokens.positions.begin(), tokens.positions.end(), 0);
    text.sha256 = hash_of(tokens.ids);
    text.description += " with a continuation";
  }
  return texts;
}

analysis::PruningStudy prune_texts(const Runner& runner, std::span<const TextInput> texts,
                                   std::span<const NamedRemoval> removals, const PruneOptions& o,
                                   const TrialOptions& options) {
  const ModelConfig& model = runner.model.decoder.config();
  std::vector<std::shared_ptr<Zeros>> zeros;
  std::vector<CacheTrial> trials;
  for (const NamedRemoval& named : removals) {
    zeros.push_back(std::make_shared<Zeros>());
    trials.push_back(trial_of(named, model, zeros.back()));
  }
  auto outcomes = run_trials(runner, texts, trials, options);
  analysis::PruningStudy study{.layers = static_cast<int>(model.layers.size()),
                               .texts = std::ssize(texts),
                               .tokens = tokens_of(texts)};
  set_full(study, outcomes.front());
  for (size_t i = 0; i < removals.size(); ++i) {
    study.variants.push_back({.outcome = std::move(outcomes[i]),
                              .key_zeros = zeros[i]->keys / zeros[i]->elements,
                              .value_zeros = zeros[i]->values / zeros[i]->elements,
                              .smaller_store = zeros[i]->fewer_tokens});
  }
  if (!o.no_timings)
    time_decoding(runner, texts.front(), removals, {options, o.decode_steps}, study.variants);
  return study;
}

analysis::SweepStudy sweep_texts(const Runner& runner, std::span<const TextInput> texts,
                                 std::span<const SweepTarget> targets, const PruneOptions& o,
                                 const TrialOptions& options) {
  const ModelConfig& model = runner.model.decoder.config();
  std::vector<CacheTrial> trials;
  analysis::SweepStudy study{.kind = kind_of(o),
                             .layers = static_cast<int>(model.layers.size()),
                             .texts = std::ssize(texts),
                             .tokens = tokens_of(texts),
                             .metrics = metric_names(kind_of(o))};
  for (const SweepTarget& target : targets) {
    trials.push_back(trial_of(target.named, model, std::make_shared<Zeros>()));
    study.items.push_back(target.item);
  }
  auto metrics = sweep_metrics(runner, texts, study.items, study.kind, options);
  auto outcomes = run_trials(runner, texts, trials, options);
  set_full(study, outcomes.front());
  for (size_t i = 0; i < targets.size(); ++i) {
    study.items[i].outcome = std::move(outcomes[i]);
    study.items[i].metrics = std::move(metrics[i]);
  }
  study.correlations = correlations_of(study);
  return study;
}

}  // namespace kvviz
