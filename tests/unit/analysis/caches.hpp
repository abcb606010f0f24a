// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"

namespace kvviz::test {

struct Shape {
  int64_t heads = 1, tokens = 1, dim = 1;
};

/// [heads, tokens, dim] in f32 with x(h, t, d).
at::Tensor tensor_of(Shape shape, const std::function<double(int64_t, int64_t, int64_t)>& x);

/// Independent Gaussian elements: keys with standard deviation 2, values with 0.5; one shape per layer.
KvCache gaussian_cache(const std::vector<Shape>& shapes, unsigned seed);

/// A copy in another dtype, and a copy with layer `layer` multiplied by `factor`.
KvCache converted(const KvCache& cache, at::ScalarType type);
KvCache scaled(const KvCache& cache, int layer, double factor);

/// The closed-form cache of the parity fixture: L, H, S, D = 3, 2, 6, 4, n = ((l H + h) S + t) D + d,
/// K = sin(0.7 n + 0.3) (1 + 0.5 l), V = cos(1.3 n + 0.1) (0.5 + 0.25 d).
KvCache closed_form_cache();

/// The elements of an f32 tensor in order.
std::vector<double> elements(const at::Tensor& x);

/// Keys or values of one head, [tokens][dim].
std::vector<std::vector<double>> rows_of(const at::Tensor& x, int64_t head);

}  // namespace kvviz::test
