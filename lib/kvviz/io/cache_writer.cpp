// SPDX-License-Identifier: MIT
#include "kvviz/io/cache_writer.hpp"

#include <algorithm>

#include "kvviz/core/version.hpp"
#include "kvviz/io/cache_format.hpp"
#include "kvviz/tensor/runtime.hpp"

namespace kvviz::io {
namespace fs = std::filesystem;
namespace {

std::string common_dtype(const KvView& cache) {
  const auto first = cache.layers.front().key.scalar_type();
  const bool same = std::all_of(cache.layers.begin(), cache.layers.end(),
                                [&](const LayerKv& layer) { return layer.key.scalar_type() == first; });
  return same ? dtype_name(first) : "mixed";
}

const CacheWriteOptions& checked(const CacheWriteOptions& options) {
  require<UsageError>(options.gzip >= 0 && options.gzip <= 9, "compression ", options.gzip,
                      ": expected 0 to 9");
  return options;
}

void check_cache(const KvView& cache, const fs::path& file) {
  validate(cache, "the cache for " + file.string());
  for (size_t i = 0; i < cache.tokens->text.size(); ++i)
    require(is_utf8(cache.tokens->text[i]), "the text of token ", i, " is not UTF-8");
}

}  // namespace

CacheWriter::CacheWriter(const fs::path& file, const CacheWriteOptions& options)
    : file_(file),
      options_(checked(options)),
      target_(file),
      out_(Hdf5File::create(target_.temporary(), file)) {}

void CacheWriter::add_queries(size_t layer, const LayerQueries& queries) {
  const at::Tensor& query = queries.query;
  const std::string group = layer_group(layer), where = cat("the queries of layer ", layer);
  require(query.defined() && query.dim() == 3 && query.numel() > 0, where,
          ": expected [query_heads, tokens, head_dim], no size 0");
  validate(queries.terms, query.size(0), where);
  require(queries_.try_emplace(layer, Query{query.sizes().vec(), query.scalar_type()}).second, where,
          " came twice");
  out_.make_group(group);
  write_tensor(out_, group + "/query", query, options_.gzip);
  out_.write_attribute(group, "scale", queries.terms.scale);
  out_.write_attribute(group, "softcap", queries.terms.softcap);
  const auto& slopes = queries.terms.alibi_slopes;
  const auto heads = static_cast<int64_t>(slopes.size());
  if (heads > 0) out_.write(group + "/alibi_slopes", {&heads, 1}, Element::f32, slopes.data(), {});
}

void CacheWriter::check_queries(const KvView& cache) const {
  if (queries_.empty()) return;
  require(cache.basis == KeyBasis::post_rope, "the cache for ", file_.string(),
          ": got queries beside keys before RoPE; attention takes both after it");
  require(queries_.size() == cache.layers.size() && queries_.rbegin()->first < cache.layers.size(),
          "the cache for ", file_.string(), ": got the queries of ", queries_.size(), " layers, the last ",
          queries_.rbegin()->first, "; expected those of all ", cache.layers.size());
  for (const auto& [index, query] : queries_) {
    const LayerKv& layer = cache.layers[index];
    const std::vector<int64_t> expected{layer.query_heads, layer.tokens(), layer.head_dim()};
    require(query.shape == expected, "the queries of layer ", index, ": got ", shape_text(query.shape),
            "; of these keys they are ", shape_text(expected));
    require(query.dtype == layer.key.scalar_type(), "the queries of layer ", index, " are ",
            dtype_name(query.dtype), " but the keys are ", dtype_name(layer.key.scalar_type()));
  }
}

void CacheWriter::finish(const KvView& cache, const CacheProvenance& provenance) {
  check_cache(cache, file_);
  check_queries(cache);
  if (losses_) validate(*losses_, std::ssize(cache.tokens->ids), "the losses for " + file_.string());
  write_header(cache, provenance);
  write_tokens(*cache.tokens);
  write_losses();
  for (size_t i = 0; i < cache.layers.size(); ++i) write_layer(i, cache.layers[i]);
  out_.close();
  target_.commit();
}

void CacheWriter::write_header(const KvView& cache, const CacheProvenance& provenance) {
  out_.write_attribute("/", "kvviz_schema", int64_t{cache_schema});
  out_.write_attribute("/", "kvviz_version", version);
  out_.write_attribute("/", "command", provenance.command);
  out_.write_attribute("/", "model", provenance.model);
  out_.write_attribute("/", "model_sha256", provenance.model_sha256);
  out_.write_attribute("/", "architecture", provenance.architecture);
  out_.write_attribute("/", "dtype", common_dtype(cache));
  out_.write_attribute("/", "key_basis", name_of(basis_names, cache.basis));
  out_.write_attribute("/", "rope_pairing", name_of(pairing_names, cache.pairing));
  out_.write_attribute("/", "rotary_dim", int64_t{cache.rotary_dim});
  out_.write_attribute("/", "bos", provenance.bos);
  out_.write_attribute("/", "created", provenance.created);
}

void CacheWriter::write_tokens(const TokenInfo& tokens) {
  const auto count = static_cast<int64_t>(tokens.ids.size());
  const Hdf5File::Layout layout{.chunk = {}, .gzip = options_.gzip};
  out_.make_group("/tokens");
  out_.write("/tokens/id", {&count, 1}, Element::i32, tokens.ids.data(), layout);
  out_.write("/tokens/position", {&count, 1}, Element::i32, tokens.positions.data(), layout);
  out_.write_strings("/tokens/text", tokens.text);
}

void CacheWriter::write_losses() {
  if (!losses_ || losses_->nll.empty()) return;
  const auto count = static_cast<int64_t>(losses_->nll.size());
  const Hdf5File::Layout layout{.chunk = {}, .gzip = options_.gzip};
  const std::vector<int32_t> hits(losses_->top1.begin(), losses_->top1.end());
  out_.write("/tokens/nll", {&count, 1}, Element::f64, losses_->nll.data(), layout);
  out_.write("/tokens/top1", {&count, 1}, Element::i32, hits.data(), layout);
}

void CacheWriter::write_layer(size_t index, const LayerKv& layer) {
  const std::string group = layer_group(index);
  out_.make_group(group);
  out_.write_attribute(group, "query_heads", int64_t{layer.query_heads});
  out_.write_attribute(group, "window", int64_t{layer.window});
  out_.write_attribute(group, "dtype", name_of(dtype_names, layer.key.scalar_type()));
  write_tensor(out_, group + "/key", layer.key, options_.gzip);
  write_tensor(out_, group + "/value", layer.value, options_.gzip);
}

void write_cache(const fs::path& file, const KvView& cache, const CacheProvenance& provenance,
                 const CacheWriteOptions& options) {
  checked(options);
  check_cache(cache, file);
  CacheWriter(file, options).finish(cache, provenance);
}

}  // namespace kvviz::io
