// SPDX-License-Identifier: MIT
#include "kvviz/analysis/layer_data.hpp"

#include "kvviz/core/error.hpp"

namespace kvviz::analysis {
namespace {

HalfData load_half(const at::Tensor& tensor) {
  HalfData half{.owner = widened(tensor)};
  half.data = half.owner.data_ptr<float>();
  half.heads = tensor.size(0);
  half.tokens = tensor.size(1);
  half.dim = tensor.size(2);
  return half;
}

}  // namespace

LayerData load(const LayerKv& layer) {
  return {load_half(layer.key), load_half(layer.value)};
}

int64_t token_count(const KvView& cache) {
  require(!cache.layers.empty(), "the cache has no layer");
  int64_t tokens = 0;
  for (const LayerKv& layer : cache.layers) tokens = std::max(tokens, layer.tokens());
  return tokens;
}

}  // namespace kvviz::analysis
