// SPDX-License-Identifier: MIT
// Subjects that come from a cache file.
#include <algorithm>
#include <cstdio>

#include "kvviz/core/error.hpp"
#include "kvviz/core/progress.hpp"
#include "kvviz/engine/subject.hpp"
#include "kvviz/io/cache_file.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz {
namespace {

Subject subject_of(const io::CacheFile& file, const std::filesystem::path& path) {
  Subject subject;
  subject.cache = file.header();
  for (size_t i = 0; i < file.layers().size(); ++i) subject.cache.layers.push_back(file.layer(i));
  validate(subject.cache.view(), path.string());
  const io::CacheProvenance& from = file.provenance();
  subject.origin = {.model = from.model,
                    .architecture = from.architecture,
                    .dtype = dtype_name(subject.cache.layers.front().key.scalar_type()),
                    .model_sha256 = from.model_sha256,
                    .text = cat("cache file ", path.string()),
                    .text_sha256 = hash_of(subject.cache.tokens.ids),
                    .bos = from.bos};
  return subject;
}

AttentionSpec spec_of(const LayerQueries& queries, const LayerKv& layer, const TokenInfo& tokens) {
  AttentionSpec spec{.scale = queries.terms.scale,
                     .softcap = queries.terms.softcap,
                     .window = layer.window,
                     .alibi_slopes = queries.terms.alibi_slopes};
  if (!spec.alibi_slopes.empty()) spec.key_positions = tokens.positions;
  return spec;
}

// No statistic depends on the values, whose head_dim a cache file leaves free: the keys stand in for them.
std::vector<kernels::HeadAttention> attention_of(const LayerQueries& queries, const LayerKv& layer,
                                                 const AttentionSpec& spec,
                                                 const kernels::AttentionRequest& request) {
  const at::Tensor query = widened(queries.query).unsqueeze(0), key = widened(layer.key).unsqueeze(0);
  std::vector<kernels::HeadAttention> statistics;
  streaming_attention(query, key, key, spec, request, &statistics);
  return statistics;
}

void measure_attention(Subject& subject, const io::CacheFile& file, const CacheRequest& request) {
  const auto& layers = subject.cache.layers;
  const TokenInfo& tokens = subject.cache.tokens;
  Progress progress("measuring attention", std::ssize(layers), request.quiet);
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerQueries queries = file.queries(i);
    require(queries.query.isfinite().all().item<bool>(), file.name(), ": layer ", i,
            ": the queries hold NaN or infinite numbers");
    const AttentionSpec spec = spec_of(queries, layers[i], tokens);
    require(spec.key_positions.empty() ||
                std::ranges::adjacent_find(tokens.positions, std::greater_equal()) == tokens.positions.end(),
            file.name(), ": /tokens/position does not ascend, so the slopes of ALiBi have no distances");
    subject.attention.push_back(attention_of(queries, layers[i], spec, request.attention));
    progress.update(static_cast<int64_t>(i) + 1);
  }
}

}  // namespace

Subject open_cache(const std::filesystem::path& file) {
  return subject_of(io::CacheFile(file), file);
}

Subject measure_cache(const std::filesystem::path& path, const CacheRequest& request) {
  const io::CacheFile file(path);
  require<UsageError>(file.has_queries() || !request.needs_queries, path.string(),
                      ": it holds keys and values, no queries, which attention, asked for here, is measured "
                      "with: capture again with --queries");
  Subject subject = subject_of(file, path);
  if (file.losses()) subject.scores = TokenScores{file.losses()->nll, file.losses()->top1};
  if (!request.attention.statistics) return subject;
  if (file.has_queries())
    measure_attention(subject, file, request);
  else if (!request.quiet)
    std::fprintf(stderr,
                 "kvviz: no queries in %s: attention is left out; kvviz capture --queries stores them\n",
                 path.c_str());
  return subject;
}

}  // namespace kvviz
