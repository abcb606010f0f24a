// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json.hpp>

#include "kvviz/analysis/tucker_study.hpp"
#include "kvviz/engine/cache_trials.hpp"
#include "kvviz/options.hpp"

namespace kvviz {

/// How the caches of texts are judged, keys in the basis asked for.
TrialOptions trial_options(const TuckerOptions& options);

/// The record of a text: the prefix's cache decomposed and the continuation read with what comes back;
/// `components`: with cores and factors of --layer.
nlohmann::json measure_tucker(const TextRun::Work& work, const TuckerOptions& options, bool components);

/// All texts' records together.
analysis::TuckerStudy gather_tucker(const TextRun& texts, const TuckerOptions& options);

/// Decomposes a cache that has no model: no losses. Throws UsageError when its keys are not in the basis
/// asked for.
analysis::TuckerStudy tucker_of_cache(const KvCache& cache, const TuckerOptions& options);

/// Throws UsageError naming the range when --layer is not one of `layers`.
void check_layer(const TuckerOptions& options, size_t layers);

}  // namespace kvviz
