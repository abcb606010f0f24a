// SPDX-License-Identifier: MIT
#pragma once
#include <span>

#include "kvviz/analysis/tucker_study.hpp"
#include "kvviz/engine/cache_trials.hpp"
#include "kvviz/options.hpp"

namespace kvviz {

/// How the caches of texts are judged, keys in the basis asked for.
TrialOptions trial_options(const TuckerOptions& options);

/// Decomposes the prefix's cache of every text and reads the continuations with what comes back.
analysis::TuckerStudy tucker_of_texts(const Runner& runner, std::span<const TextInput> texts,
                                      const TuckerOptions& options);

/// Decomposes a cache that has no model: no losses. Throws UsageError when its keys are not in the basis
/// asked for.
analysis::TuckerStudy tucker_of_cache(const KvCache& cache, const TuckerOptions& options);

/// Throws UsageError naming the range when --layer is not one of `layers`.
void check_layer(const TuckerOptions& options, size_t layers);

}  // namespace kvviz
