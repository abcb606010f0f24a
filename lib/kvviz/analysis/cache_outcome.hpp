// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/analysis/legacy.hpp"
#include "kvviz/analysis/loss_percent.hpp"

namespace kvviz::analysis {

// What a change of the KV cache (a code, an eviction, something removed) did to a model, over all texts.

/// One layer under one change; means over the texts.
struct CacheOutcomeLayer {
  int layer = 0;
  double key_error = 0, value_error = 0;  ///< |restored - x| / |x| over what is held, Frobenius; 0 is best
  double output_error = 0;                ///< of the attention, mean over query heads; 0 is best
  double bytes = 0;
  std::vector<double> head_output_error;  ///< [query heads]
};

struct CacheOutcome {
  std::string method;   ///< as it was asked for: "kivi:4"
  std::string family;   ///< "kivi": methods that differ in numbers alone
  std::string summary;  ///< what is stored
  int64_t texts = 0, predictions = 0;
  double nll = kNone, delta_nll = kNone, delta_nll_se = kNone;  ///< nats per token
  double ppl = kNone, delta_ppl = kNone, delta_ppl_se = kNone;
  double kl = kNone, kl_max = kNone, top1_agreement = kNone;
  double key_error = kNone, value_error = kNone, output_error = kNone;  ///< means over layers
  double payload_bytes = 0, metadata_bytes = 0;  ///< of the prefix's cache, mean over texts
  double workspace_bytes = 0;     ///< to restore one layer at a time in f16 for attention to read
  double f16_bytes = 0;           ///< of that cache in f16
  double tokens = 0;              ///< of the prefix, mean over texts
  double change_seconds = kNone;  ///< coding and reading back, all texts; kNone: left out
  std::vector<CacheOutcomeLayer> layers;
  bool on_frontier = false;  ///< no method changes the perplexity as little with fewer bytes, or less

  double bytes() const { return payload_bytes + metadata_bytes; }
  double resident_bytes() const { return bytes() + workspace_bytes; }
  double bytes_per_token() const { return bytes() / tokens; }
  double ratio() const { return f16_bytes / bytes(); }  ///< below 1: an expansion
  /// Increase of the perplexity, % of that with the cache as it is, and its standard error.
  double delta_ppl_percent() const { return ppl_percent(ppl, delta_ppl); }
  double delta_ppl_percent_se() const { return ppl_percent_error(ppl, delta_ppl, delta_nll_se); }
  double change_percent() const { return ppl_change_percent(ppl, delta_ppl, delta_nll_se); }
};

/// One change on one text: what tells which texts suffer.
struct TextOutcome {
  int64_t text = 0;  ///< index
  std::string name;
  size_t outcome = 0;  ///< which of the study's
  int64_t tokens = 0, predictions = 0;
  double nll = kNone, delta_nll = kNone, delta_nll_se = kNone;  ///< nats per token; by blocks of the text
  double delta_ppl_percent = kNone;  ///< of the perplexity of this text with the cache as it is
  double kl = kNone, top1_agreement = kNone;
  double bytes_per_token = kNone;
};

}  // namespace kvviz::analysis
