// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/analysis/legacy.hpp"

namespace kvviz::analysis {

// What codecs of the KV cache did to a model, method by method, over all texts. Filled by `kvviz compress`;
// tables and figures read it.

/// One layer under one method; means over the texts.
struct CodecLayer {
  int layer = 0;
  double key_error = 0, value_error = 0;  ///< |restored - x| / |x|, Frobenius; 0 is best
  double output_error = 0;                ///< of the attention, mean over query heads; 0 is best
  double bytes = 0;
  std::vector<double> head_output_error;  ///< [query heads]
};

struct CodecOutcome {
  std::string method;   ///< as it was asked for: "kivi:4"
  std::string family;   ///< "kivi": methods that differ in numbers alone
  std::string summary;  ///< what is stored
  int64_t texts = 0, predictions = 0;
  double nll = kNone, delta_nll = kNone, delta_nll_se = kNone;  ///< nats per token
  double ppl = kNone, delta_ppl = kNone, delta_ppl_se = kNone;
  double kl = kNone, kl_max = kNone, top1_agreement = kNone;
  double key_error = kNone, value_error = kNone, output_error = kNone;  ///< means over layers
  double payload_bytes = 0, metadata_bytes = 0;  ///< of the prefix's cache, mean over texts
  double f16_bytes = 0;                          ///< of that cache in f16
  double tokens = 0;                             ///< of the prefix, mean over texts
  double code_seconds = kNone;                   ///< coding and reading back, all texts; kNone: left out
  std::vector<CodecLayer> layers;
  bool on_frontier = false;  ///< no method loses as little with fewer bytes, or less

  double bytes() const { return payload_bytes + metadata_bytes; }
  double bytes_per_token() const { return bytes() / tokens; }
  double ratio() const { return f16_bytes / bytes(); }  ///< below 1: an expansion
};

struct CompressionStudy {
  int layers = 0, query_heads = 0, kv_heads = 0;
  int64_t texts = 0, tokens = 0;  ///< tokens: of all texts
  std::string sides;              ///< "keys and values", "keys", "values"
  double full_ppl = kNone, full_nll = kNone;
  std::vector<CodecOutcome> outcomes;
};

/// The outcome with the fewest bytes that raises the perplexity by less than `percent` %; null: none.
const CodecOutcome* smallest_within(const CompressionStudy& study, double percent);

/// Sets on_frontier: pareto_set() of bytes and delta_nll.
void mark_frontier(std::vector<CodecOutcome>& outcomes);

}  // namespace kvviz::analysis
