// SPDX-License-Identifier: MIT
#include "kvviz/engine/generation_run.hpp"

#include <ATen/ops/cat.h>
#include <cstdio>

#include <algorithm>

#include "kvviz/core/progress.hpp"
#include "kvviz/eval/continuation.hpp"
#include "kvviz/eval/evicting_session.hpp"
#include "kvviz/model/session.hpp"
#include "kvviz/stats/channels.hpp"

namespace kvviz {
namespace {

using analysis::AttentionShares;

std::optional<int32_t> stop_of(const Runner& runner, const GenerationRequest& request) {
  return request.ignore_eos ? std::nullopt : runner.tokenizer->eos();
}

ContinuationRequest continuation_of(const Runner& runner, const GenerationRequest& request) {
  return {.prompt = request.prompt,
          .tokens = request.tokens,
          .sampling = request.sampling,
          .stop = stop_of(runner, request),
          .extend = {}};
}

std::vector<std::string> pieces_of(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  std::vector<std::string> pieces;
  for (const int32_t id : ids) pieces.push_back(tokenizer.piece(id));
  return pieces;
}

/// What is watched while the full cache grows: attention of single queries, keys before RoPE.
struct Watched {
  std::vector<std::vector<std::vector<AttentionShares>>> attention;  // [step][layer][head]
  std::vector<std::vector<at::Tensor>> keys;                         // [layer] pieces along the tokens

  std::vector<at::Tensor> joined_keys() const {
    std::vector<at::Tensor> joined;
    for (const auto& pieces : keys) joined.push_back(at::cat(pieces, 1));
    return joined;
  }
};

Session::Watch watch_into(Watched& watched, const ModelConfig& config, int64_t prompt) {
  Session::Watch watch;
  watch.attention.sampled_queries = 1;
  watch.on_attention = [&watched, prompt](int layer, const std::vector<kernels::HeadAttention>& heads) {
    if (layer == 0) watched.attention.emplace_back();
    auto& shares = watched.attention.back().emplace_back();
    for (const kernels::HeadAttention& head : heads)
      shares.push_back(analysis::attention_shares(head.key_mass, prompt));
  };
  if (config.position == PositionKind::rope) {
    watched.keys.resize(config.layers.size());
    watch.probe = [&watched](Site site, int layer, const at::Tensor& x) {
      if (site == Site::key_pre_rope) watched.keys[static_cast<size_t>(layer)].push_back(x[0].contiguous());
    };
  }
  return watch;
}

AttentionShares uniform_of(const ModelConfig& config, int64_t keys, int64_t prompt) {
  AttentionShares mean;
  for (const LayerConfig& layer : config.layers)
    mean += (1 / static_cast<double>(config.layers.size())) *
            analysis::uniform_shares(keys, prompt, layer.window);
  return mean;
}

std::optional<analysis::Divergence> divergence(std::span<const std::string> full,
                                               std::span<const std::string> evicted, int64_t equal,
                                               const analysis::GenerationStudy& study,
                                               const Continuation& made) {
  const auto step = static_cast<size_t>(equal);
  if (step == full.size() && step == evicted.size()) return std::nullopt;
  analysis::Divergence at{.step = equal, .full = "", .evicted = ""};
  if (step < full.size()) {
    at.full = full[step];
    at.full_probability = study.steps[step].probability;
    at.evicted_probability = made.other[step];
  }
  if (step < evicted.size()) at.evicted = evicted[step];
  return at;
}

/// Sets of query heads have copies of their own. A policy that frees nothing keeps the full cache.
analysis::HeldCache held_by(const EvictingSession& session, const policy::PolicyInfo& info,
                            const analysis::CacheShape& shape) {
  const auto sets = session.sets();
  analysis::HeldCache held{.full_bytes = analysis::f16_bytes(shape, session.tokens())};
  for (const SimulatedSet& set : sets) {
    const auto keys = std::ssize(set.kept);
    held.entries += static_cast<double>(keys) / static_cast<double>(sets.size());
    held.metadata += keys * set.metadata.key + set.metadata.set;
    const int64_t head_dim = shape.layers[static_cast<size_t>(set.layer)].head_dim;
    held.bytes += analysis::f16_bytes({.layers = {{.kv_heads = 1, .head_dim = head_dim}}}, keys);
  }
  if (!info.frees_memory) held.bytes = held.full_bytes;
  return held;
}

// transformers computes Phi-3's cache anew at this border; here what is cached stays.
void tell_of_first_context(const ModelConfig& config, int64_t prompt, int64_t tokens) {
  const RopeConfig& rope = config.rope;
  if (config.position != PositionKind::rope || rope.scaling != RopeScaling::longrope) return;
  const auto first = static_cast<int64_t>(rope.original_context);
  if (prompt > first || prompt + tokens <= first || rope.short_factors == rope.long_factors) return;
  std::fprintf(stderr,
               "kvviz: the text grows past the model's first context of %lld tokens, from where on longrope "
               "turns keys otherwise; those in the cache stay as they are\n",
               static_cast<long long>(first));
}

}  // namespace

GenerationRun generate_in_full(const Runner& runner, const GenerationRequest& request) {
  const Decoder& decoder = runner.model.decoder;
  const auto prompt = std::ssize(request.prompt);
  if (!request.quiet) tell_of_first_context(decoder.config(), prompt, request.tokens);
  Session session(decoder);
  Watched watched;
  Session::Watch watch = watch_into(watched, decoder.config(), prompt);
  ContinuationRequest continuation = continuation_of(runner, request);
  Progress progress("generating", request.tokens, request.quiet);
  continuation.extend = [&](std::span<const int32_t> ids) {
    watch.attention.statistics = session.tokens() > 0;  // of generated tokens only
    return session.extend(ids, watch);
  };
  continuation.after = [&](int64_t count) { progress.update(count); };
  Continuation made = continue_text(decoder, continuation);

  KvCache cache = session.cache(session.tokens());
  cache.tokens.ids.assign(request.prompt.begin(), request.prompt.end());
  cache.tokens.ids.insert(cache.tokens.ids.end(), made.ids.begin(), made.ids.end());
  const auto keys = watched.joined_keys();
  GenerationRun run;
  run.study.cache = analysis::generation({.cache = cache.view(), .keys_before_rope = keys, .prompt = prompt},
                                         request.stages, request.legacy);
  run.study.text = runner.tokenizer->decode(made.ids);
  run.study.stopped = made.stopped;
  run.study.prefill_seconds = made.prefill_seconds;
  for (size_t i = 0; i < made.ids.size(); ++i) {
    const int64_t tokens = prompt + static_cast<int64_t>(i) + 1;
    run.study.steps.push_back({.id = made.ids[i],
                               .text = runner.tokenizer->piece(made.ids[i]),
                               .probability = made.probability[i],
                               .bytes = analysis::f16_bytes(run.study.cache.shape, tokens),
                               .seconds = made.step_seconds[i],
                               .attention = std::move(watched.attention[i]),
                               .uniform = uniform_of(decoder.config(), tokens, prompt)});
  }
  run.ids = std::move(made.ids);
  return run;
}

analysis::EvictedText generate_evicting(const Runner& runner, const GenerationRequest& request,
                                        const Simulation& simulation, const SimulationOptions& settings,
                                        const GenerationRun& full) {
  EvictingSession session(runner.model.decoder, simulation, settings,
                          std::ssize(request.prompt) + request.tokens);
  ContinuationRequest continuation = continuation_of(runner, request);
  continuation.other = full.ids;
  continuation.extend = [&](std::span<const int32_t> ids) { return session.extend(ids); };
  std::vector<analysis::HeldCache> held;
  continuation.after = [&](int64_t) {
    held.push_back(held_by(session, simulation.policy.info, full.study.cache.shape));
  };
  const Continuation made = continue_text(runner.model.decoder, continuation);
  const auto full_pieces = pieces_of(*runner.tokenizer, full.ids);
  analysis::EvictedText text{.policy = simulation.policy.name,
                             .budget = simulation.budget.text,
                             .text = runner.tokenizer->decode(made.ids),
                             .pieces = pieces_of(*runner.tokenizer, made.ids),
                             .equal = std::ranges::mismatch(made.ids, full.ids).in1 - made.ids.begin(),
                             .divergence = {},
                             .stopped = made.stopped,
                             .held = std::move(held),
                             .seconds = stats::median(made.step_seconds)};
  text.divergence = divergence(full_pieces, text.pieces, text.equal, full.study, made);
  return text;
}

}  // namespace kvviz
