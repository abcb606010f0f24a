// SPDX-License-Identifier: MIT
#include "kvviz/engine/prune_decode.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "kvviz/core/progress.hpp"
#include "kvviz/core/seconds_since.hpp"

namespace kvviz {
namespace {

constexpr int64_t warm_up_steps = 8;

double timed_step(const Decoder& decoder, ChangedSession& session, std::span<const int32_t> id) {
  const auto start = std::chrono::steady_clock::now();
  decoder.logits(session.extend(id));
  return 1000 * seconds_since(start);
}

/// Linear between order statistics.
double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

analysis::DecodeTime summary(std::vector<double> times) {
  std::ranges::sort(times);
  return {.median = quantile(times, 0.5), .lower = quantile(times, 0.25), .upper = quantile(times, 0.75)};
}

void time_variant(const Decoder& decoder, const SplitText& split, const Removal& removal, int64_t steps,
                  analysis::PruneVariant& variant) {
  const auto tokens = std::ssize(split.prefix());
  const ModelConfig& model = decoder.config();
  ChangedSession full(decoder, removed(split.cache(), model, {}).layers, tokens);
  ChangedSession pruned(decoder, removed(split.cache(), model, removal).layers, tokens);
  variant.full_store_bytes = static_cast<double>(full.bytes());
  variant.store_bytes = static_cast<double>(pruned.bytes());
  std::vector<double> full_times, times;
  for (int64_t i = 0; i < warm_up_steps + steps; ++i) {
    const auto id = split.continuation().subspan(static_cast<size_t>(i), 1);
    double of_full = 0, of_pruned = 0;
    // Who goes second finds the weights in the caches of the CPU.
    if (i % 2 == 0) {
      of_full = timed_step(decoder, full, id);
      of_pruned = timed_step(decoder, pruned, id);
    } else {
      of_pruned = timed_step(decoder, pruned, id);
      of_full = timed_step(decoder, full, id);
    }
    if (i < warm_up_steps) continue;
    full_times.push_back(of_full);
    times.push_back(of_pruned);
  }
  variant.steps = steps;
  variant.full_time = summary(std::move(full_times));
  variant.time = summary(std::move(times));
}

}  // namespace

void time_decoding(const Decoder& decoder, std::span<const int32_t> ids,
                   std::span<const NamedRemoval> removals, const DecodeOptions& options,
                   std::span<analysis::PruneVariant> variants) {
  const at::NoGradGuard no_grad;
  const SplitText split(decoder, ids, options.prefix);
  const int64_t steps = std::min(options.steps, std::ssize(split.continuation()) - warm_up_steps);
  if (steps < 1) return;
  Progress progress("timing", std::ssize(removals), options.quiet);
  for (size_t i = 0; i < removals.size(); ++i) {
    if (variants[i].smaller_store) time_variant(decoder, split, removals[i].removal, steps, variants[i]);
    progress.update(static_cast<int64_t>(i) + 1);
  }
}

}  // namespace kvviz
