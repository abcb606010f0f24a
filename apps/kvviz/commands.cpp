// SPDX-License-Identifier: MIT
#include "kvviz/command.hpp"

namespace kvviz {

std::span<const Command> commands() {
  static constexpr Command table[] = {
      {"analyze", "Analysis", "measure a KV cache: layers, heads, tokens, channels, attention, distribution",
       declare_analyze},
      {"sinks", "Analysis",
       "attention sinks: scores, rates, over texts, lengths and layers; what reusing them costs",
       declare_sinks},
      {"simulate", "Analysis",
       "evict keys while decoding: every policy and budget, what it saves and what it does to the model",
       declare_simulate},
      {"analyze_generation", "Analysis",
       "the cache while text is generated: stages, drift, where attention goes; the text under eviction",
       declare_analyze_generation},
      {"analyze_similarity", "Analysis",
       "how alike layers, heads, tokens and channels are, above chance; what sharing them could save at most",
       declare_analyze_similarity},
      {"compress", "Analysis",
       "code the KV cache in fewer bytes: quantisation, low rank; what it saves and what it does to the "
       "model",
       declare_compress},
      {"prune", "Analysis",
       "remove layers, heads, tokens, channels or small elements from the KV cache; what each of them costs",
       declare_prune},
      {"tucker", "Analysis",
       "Tucker decomposition of keys and values: ranks by mode, errors, bytes, loss; beside the SVD of each "
       "head",
       declare_tucker},
      {"profile", "Analysis",
       "what a KV cache takes, which context fits, which block is kept where; no weights", declare_profile},
      {"compare", "Analysis", "two results side by side", declare_compare},
      {"merge", "Analysis", "the result of a run whose texts were shared out (--shard), from its records",
       declare_merge},
      {"serve", "Page",
       "a local web page: a model's attention live, eviction, the cache; with an HTTP interface",
       declare_serve},
      {"capture", "Capture", "run the model once and write its KV cache to HDF5", declare_capture},
      {"models", "Models", "find, download, list and remove models of the Hugging Face hub", declare_models},
      {"list_samples", "Capture", "list the sample texts, or those of a local WikiText",
       declare_list_samples},
  };
  return table;
}

}  // namespace kvviz
