// SPDX-License-Identifier: MIT
#include "unit/analysis/caches.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <random>

namespace kvviz::test {

at::Tensor tensor_of(Shape shape, const std::function<double(int64_t, int64_t, int64_t)>& x) {
  at::Tensor tensor = at::empty({shape.heads, shape.tokens, shape.dim}, at::kFloat);
  auto* out = tensor.data_ptr<float>();
  for (int64_t h = 0; h < shape.heads; ++h) {
    for (int64_t t = 0; t < shape.tokens; ++t) {
      for (int64_t d = 0; d < shape.dim; ++d) *out++ = static_cast<float>(x(h, t, d));
    }
  }
  return tensor;
}

KvCache gaussian_cache(const std::vector<Shape>& shapes, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  KvCache cache;
  for (const Shape& shape : shapes) {
    LayerKv layer;
    layer.key = tensor_of(shape, [&](int64_t, int64_t, int64_t) { return 2 * normal(random); });
    layer.value = tensor_of(shape, [&](int64_t, int64_t, int64_t) { return 0.5 * normal(random); });
    cache.layers.push_back(layer);
  }
  return cache;
}

KvCache converted(const KvCache& cache, at::ScalarType type) {
  KvCache copy = cache;
  for (LayerKv& layer : copy.layers) {
    layer.key = layer.key.to(type);
    layer.value = layer.value.to(type);
  }
  return copy;
}

KvCache scaled(const KvCache& cache, int layer, double factor) {
  KvCache copy = cache;
  copy.layers[layer].key = cache.layers[layer].key * factor;
  copy.layers[layer].value = cache.layers[layer].value * factor;
  return copy;
}

KvCache closed_form_cache() {
  constexpr Shape shape{2, 6, 4};
  KvCache cache;
  for (int64_t l = 0; l < 3; ++l) {
    const auto index = [&](int64_t h, int64_t t, int64_t d) {
      return static_cast<double>(((l * shape.heads + h) * shape.tokens + t) * shape.dim + d);
    };
    LayerKv layer;
    layer.key = tensor_of(shape, [&](int64_t h, int64_t t, int64_t d) {
      return std::sin(0.7 * index(h, t, d) + 0.3) * (1 + 0.5 * static_cast<double>(l));
    });
    layer.value = tensor_of(shape, [&](int64_t h, int64_t t, int64_t d) {
      return std::cos(1.3 * index(h, t, d) + 0.1) * (0.5 + 0.25 * static_cast<double>(d));
    });
    cache.layers.push_back(layer);
  }
  return cache;
}

std::vector<double> elements(const at::Tensor& x) {
  const auto* first = x.data_ptr<float>();
  return {first, first + x.numel()};
}

std::vector<std::vector<double>> rows_of(const at::Tensor& x, int64_t head) {
  std::vector<std::vector<double>> rows;
  for (int64_t t = 0; t < x.size(1); ++t) {
    const auto* first = x.data_ptr<float>() + (head * x.size(1) + t) * x.size(2);
    rows.emplace_back(first, first + x.size(2));
  }
  return rows;
}

}  // namespace kvviz::test
