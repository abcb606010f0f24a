// SPDX-License-Identifier: MIT
#include "kvviz/attention/attention.hpp"

#include <ATen/ops/randn.h>
#include <doctest/doctest.h>

using namespace kvviz;

namespace {

struct Shape {
  int64_t query_heads, kv_heads, queries, keys, head_dim;
};

// Eager attention in fp64 is the reference: whole matrices, library operations only.
void check_same(const Shape& s, const AttentionSpec& spec) {
  CAPTURE(s.keys);
  const at::Tensor q = at::randn({1, s.query_heads, s.queries, s.head_dim});
  const at::Tensor k = at::randn({1, s.kv_heads, s.keys, s.head_dim});
  const at::Tensor v = at::randn({1, s.kv_heads, s.keys, s.head_dim});
  at::Tensor weights;
  const at::Tensor want =
      eager_attention(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), spec, &weights);
  kernels::AttentionRequest request;
  request.statistics = true;
  std::vector<kernels::HeadAttention> heads;
  const at::Tensor got = streaming_attention(q, k, v, spec, request, &heads);
  REQUIRE(got.sizes() == want.sizes());
  CHECK(got.to(at::kDouble).sub(want).abs().max().item<double>() < 1e-5);
  REQUIRE(heads.size() == static_cast<size_t>(s.query_heads));
  for (int64_t h = 0; h < s.query_heads; ++h) {
    const at::Tensor mass = weights[0][h].sum(0);
    for (int64_t key = 0; key < s.keys; ++key)
      CHECK(heads[static_cast<size_t>(h)].key_mass[static_cast<size_t>(key)] ==
            doctest::Approx(mass[key].item<double>()).epsilon(1e-4));
  }
}

}  // namespace

TEST_CASE("[attention] streaming equals whole matrices: groups, windows, soft caps, queries behind a cache") {
  check_same({4, 4, 33, 33, 16}, {.scale = 0.25});
  check_same({8, 2, 65, 65, 24}, {.scale = 0.2});
  check_same({6, 1, 1, 40, 8}, {.scale = 0.5});
  check_same({4, 2, 20, 50, 32}, {.scale = 0.3, .window = 7});
  check_same({4, 2, 50, 50, 32}, {.scale = 0.3, .softcap = 2});
}

TEST_CASE("[attention] a strided view gives what its dense copy gives") {
  const at::Tensor x = at::randn({1, 30, 4, 16});
  const at::Tensor view = x.transpose(1, 2);
  const AttentionSpec spec{.scale = 0.25};
  CHECK(streaming_attention(view, view, view, spec, {}, nullptr)
            .equal(streaming_attention(view.contiguous(), view.contiguous(), view.contiguous(), spec, {},
                                       nullptr)));
}
