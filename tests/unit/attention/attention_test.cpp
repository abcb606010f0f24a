// SPDX-License-Identifier: MIT
#include "kvviz/attention/attention.hpp"

#include <ATen/ops/randn.h>
#include <doctest/doctest.h>

#include <cmath>

#include "kvviz/attention/alibi.hpp"

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

TEST_CASE("[attention] streaming equals whole matrices under ALiBi, keys missing between others or not") {
  for (const int64_t queries : {1, 7, 33, 70}) {
    for (const int64_t heads : {3, 4, 12}) {
      const Shape shape{heads, heads % 4 == 0 ? heads / 4 : 1, queries, 70, 24};
      const AttentionSpec spec{.scale = 0.2, .alibi_slopes = alibi_slopes(heads)};
      check_same(shape, spec);
      AttentionSpec other = spec;
      other.window = 19;
      check_same(shape, other);
      other.softcap = 2;
      check_same(shape, other);
      std::vector<int32_t> positions(70);
      for (size_t j = 0; j < positions.size(); ++j) positions[j] = static_cast<int32_t>(3 * j + j % 2);
      other.key_positions = positions;
      check_same(shape, other);
    }
  }
}

TEST_CASE("[attention] gradients of eager attention pass the bias of ALiBi") {
  const at::Tensor q = at::randn({2, 4, 9, 8}).requires_grad_(true), k = at::randn({2, 4, 9, 8});
  const at::Tensor out = eager_attention(q, k, k, {.scale = 0.3, .alibi_slopes = alibi_slopes(4)});
  CHECK(out.requires_grad());
  CHECK_FALSE(out.detach().allclose(eager_attention(q, k, k, {.scale = 0.3}).detach()));
}

TEST_CASE("[attention] slopes of ALiBi as published, for powers of two and other numbers of heads") {
  CHECK(alibi_slopes(1) == std::vector<float>{1.0F / 256});
  CHECK(alibi_slopes(8) == std::vector<float>{1.0F / 2, 1.0F / 4, 1.0F / 8, 1.0F / 16, 1.0F / 32, 1.0F / 64,
                                              1.0F / 128, 1.0F / 256});
  // The 12 heads of the paper's code: those of 8, then the first, third, fifth and seventh of 16.
  const std::vector<float> twelve = alibi_slopes(12);
  const std::vector<double> want = {0.5,       0.25,       0.125,      0.0625,     0.03125,     0.015625,
                                    0.0078125, 0.00390625, 0.70710678, 0.35355339, 0.176776695, 0.0883883476};
  REQUIRE(twelve.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i) CHECK(twelve[i] == doctest::Approx(want[i]).epsilon(1e-7));
  CHECK(alibi_slopes(16)[0] == doctest::Approx(std::sqrt(0.5)).epsilon(1e-7));
  CHECK(alibi_slopes(4, 16) == std::vector<float>{1.0F / 16, 1.0F / 256, 1.0F / 4096, 1.0F / 65536});
}

TEST_CASE("[attention] some heads of a layer keep their own slopes") {
  const AttentionSpec spec{.scale = 3, .softcap = 4, .window = 5, .alibi_slopes = alibi_slopes(8)};
  const std::vector<int64_t> heads = {1, 6};
  const AttentionSpec some = of_heads(spec, heads);
  CHECK(some.alibi_slopes == std::vector<float>{0.25F, 1.0F / 128});
  CHECK((some.scale == 3 && some.softcap == 4 && some.window == 5));
  CHECK(of_heads({}, heads).alibi_slopes.empty());
}

TEST_CASE("[attention] a strided view gives what its dense copy gives") {
  const at::Tensor x = at::randn({1, 30, 4, 16});
  const at::Tensor view = x.transpose(1, 2);
  const AttentionSpec spec{.scale = 0.25};
  CHECK(streaming_attention(view, view, view, spec, {}, nullptr)
            .equal(streaming_attention(view.contiguous(), view.contiguous(), view.contiguous(), spec, {},
                                       nullptr)));
}
