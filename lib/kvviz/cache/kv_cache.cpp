// SPDX-License-Identifier: MIT
#include "kvviz/cache/kv_cache.hpp"

#include "kvviz/core/error.hpp"

namespace kvviz {
namespace {

bool supported(at::ScalarType type) {
  return type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
}

void validate_layer(const LayerKv& layer, size_t index, int64_t tokens, const std::string& source) {
  const auto where = [&] { return cat(source, ": layer ", index, ": "); };
  require(layer.key.defined() && layer.value.defined(), where(), "the key or the value is missing");
  require(layer.key.dim() == 3 && layer.value.dim() == 3, where(), "got key and value of rank ",
          layer.key.dim(), " and ", layer.value.dim(), "; expected [kv_heads, tokens, head_dim]");
  require(layer.key.sizes().slice(0, 2) == layer.value.sizes().slice(0, 2), where(), "the key is ",
          layer.key.sizes(), " but the value is ", layer.value.sizes(), "; heads and tokens must agree");
  require(layer.key.numel() > 0 && layer.value.numel() > 0, where(), "the key is ", layer.key.sizes(),
          "; no size may be 0");
  require(layer.tokens() == tokens, where(), "holds ", layer.tokens(), " tokens; the token list has ",
          tokens);
  require(supported(layer.key.scalar_type()) && layer.value.scalar_type() == layer.key.scalar_type(), where(),
          "got dtypes ", layer.key.scalar_type(), " and ", layer.value.scalar_type(),
          "; expected both f32, f16 or bf16");
  require(layer.query_heads % layer.kv_heads() == 0, where(), layer.query_heads,
          " query heads cannot be shared out over ", layer.kv_heads(), " KV heads");
}

}  // namespace

int64_t KvCache::bytes() const {
  int64_t sum = 0;
  for (const LayerKv& layer : layers) sum += layer.bytes();
  return sum;
}

void validate(const KvView& cache, const std::string& source) {
  require(!cache.layers.empty(), source, ": the cache has no layer");
  require(cache.tokens != nullptr, source, ": the cache has no token list");
  const auto count = static_cast<int64_t>(cache.tokens->ids.size());
  require(cache.tokens->positions.size() == cache.tokens->ids.size() &&
              cache.tokens->text.size() == cache.tokens->ids.size(),
          source, ": got ", count, " token ids, ", cache.tokens->positions.size(), " positions and ",
          cache.tokens->text.size(), " pieces of text; expected as many of each");
  for (size_t i = 0; i < cache.layers.size(); ++i) validate_layer(cache.layers[i], i, count, source);
}

at::Tensor widened(const at::Tensor& tensor) {
  return tensor.to(at::kFloat).contiguous();
}

}  // namespace kvviz
