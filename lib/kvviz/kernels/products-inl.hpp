// SPDX-License-Identifier: MIT
// The two matrix products of attention, compiled once per instruction set.
#if defined(KVVIZ_KERNELS_PRODUCTS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef KVVIZ_KERNELS_PRODUCTS_INL_HPP
#undef KVVIZ_KERNELS_PRODUCTS_INL_HPP
#else
#define KVVIZ_KERNELS_PRODUCTS_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "kvviz/kernels/attention_simd.hpp"

HWY_BEFORE_NAMESPACE();
namespace kvviz::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;

inline int64_t lanes() {
  return static_cast<int64_t>(hn::Lanes(Floats()));
}

// group_rows * tile_vectors sums, tile_vectors operands and one broadcast fill the registers: 32 on AVX-512
// and NEON, 16 on the other instruction sets.
constexpr int group_rows = 6;
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int tile_vectors = 4;
#else
constexpr int tile_vectors = 2;
#endif

inline int64_t panel_width() {
  return tile_vectors * lanes();
}

// The columns that some row of a group sees.
inline Span group_span(const Strip& strip, int64_t row) {
  Span seen = strip.visible[row];
  for (int64_t r = row + 1; r < std::min(row + group_rows, strip.rows); ++r) {
    seen.begin = std::min(seen.begin, strip.visible[r].begin);
    seen.end = std::max(seen.end, strip.visible[r].end);
  }
  return seen;
}

inline void pack_keys(const float* key, int64_t stride, int64_t keys, int64_t head_dim, float* panels) {
  const int64_t width = panel_width();
  for (int64_t first = 0; first < keys; first += width) {
    const int64_t count = std::min(width, keys - first);
    float* const panel = panels + first * head_dim;
    for (int64_t j = 0; j < count; ++j) {
      const float* const row = key + (first + j) * stride;
      for (int64_t c = 0; c < head_dim; ++c) panel[c * width + j] = row[c];
    }
    for (int64_t c = 0; count < width && c < head_dim; ++c) {
      std::fill(panel + c * width + count, panel + (c + 1) * width, 0.0F);
    }
  }
}

// Else an infinite logit of either sign would end as a number: -inf in a weight of zero, both in a soft cap.
HWY_INLINE FloatVector nan_if_infinite(FloatVector x) {
  return hn::MulAdd(hn::Zero(Floats()), x, x);
}

template <int V>
HWY_INLINE void score_tile(const float* HWY_RESTRICT queries, const float* HWY_RESTRICT panel,
                           int64_t head_dim, float* HWY_RESTRICT out, int64_t stride) {
  const Floats d;
  const int64_t n = lanes(), width = panel_width();
  FloatVector sum[group_rows][V];
  for (auto& row : sum) {
    for (auto& vector : row) vector = hn::Zero(d);
  }
  for (int64_t c = 0; c < head_dim; ++c) {
    FloatVector key[V];
    for (int v = 0; v < V; ++v) key[v] = hn::Load(d, panel + c * width + v * n);
    for (int r = 0; r < group_rows; ++r) {
      const auto query = hn::Set(d, queries[c * group_rows + r]);
      for (int v = 0; v < V; ++v) sum[r][v] = hn::MulAdd(query, key[v], sum[r][v]);
    }
  }
  for (int r = 0; r < group_rows; ++r) {
    for (int v = 0; v < V; ++v) hn::Store(nan_if_infinite(sum[r][v]), d, out + r * stride + v * n);
  }
}

inline void scores(const Strip& strip, const float* queries, const float* panels, int64_t head_dim) {
  const int64_t n = lanes(), width = panel_width();
  const int64_t columns = strip.visible[strip.rows - 1].end;
  for (int64_t column = 0; column < columns; column += width) {
    for (int64_t row = 0; row < strip.rows; row += group_rows) {
      // At the ends of the visible columns whole vectors that no row of the group sees are left out.
      const Span seen = group_span(strip, row);
      const int64_t first = std::max((seen.begin - column) / n, int64_t{0});
      const int64_t last = std::min<int64_t>((seen.end - column + n - 1) / n, tile_vectors);
      const float* const group = queries + row * head_dim;
      const float* const panel = panels + column * head_dim + first * n;
      float* const out = strip.data + row * strip.stride + column + first * n;
      if (last - first == tile_vectors) {
        score_tile<tile_vectors>(group, panel, head_dim, out, strip.stride);
      } else if (last - first == 1) {
        score_tile<1>(group, panel, head_dim, out, strip.stride);
      } else if constexpr (tile_vectors == 4) {
        if (last - first == 2) score_tile<2>(group, panel, head_dim, out, strip.stride);
        if (last - first == 3) score_tile<3>(group, panel, head_dim, out, strip.stride);
      }
    }
  }
}

// The first `count` < lanes floats at `from`, then zeros, without a read behind them.
HWY_INLINE FloatVector load_partial(const float* from, int64_t count) {
  const Floats d;
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, from);
#else
  HWY_ALIGN float padded[hn::MaxLanes(d)] = {};
  std::copy_n(from, count, padded);
  return hn::Load(d, padded);
#endif
}

template <int V, bool partial>
HWY_INLINE void value_tile(const float* HWY_RESTRICT weights, int64_t stride, Span columns,
                           const float* HWY_RESTRICT value, int64_t value_stride, int64_t last_lanes,
                           float* HWY_RESTRICT out, int64_t out_stride) {
  const Floats d;
  const int64_t n = lanes();
  FloatVector sum[group_rows][V];
  for (int r = 0; r < group_rows; ++r) {
    for (int v = 0; v < V; ++v) sum[r][v] = hn::Load(d, out + r * out_stride + v * n);
  }
  for (int64_t c = columns.begin; c < columns.end; ++c) {
    FloatVector row[V];
    for (int v = 0; v < V; ++v) {
      const float* const from = value + c * value_stride + v * n;
      row[v] = partial && v == V - 1 ? load_partial(from, last_lanes) : hn::LoadU(d, from);
    }
    for (int r = 0; r < group_rows; ++r) {
      const auto weight = hn::Set(d, weights[r * stride + c]);
      for (int v = 0; v < V; ++v) sum[r][v] = hn::MulAdd(weight, row[v], sum[r][v]);
    }
  }
  for (int r = 0; r < group_rows; ++r) {
    for (int v = 0; v < V; ++v) hn::Store(sum[r][v], d, out + r * out_stride + v * n);
  }
}

template <int V, bool partial>
void value_tiles(const Strip& strip, Span columns, const float* value, int64_t value_stride,
                 int64_t last_lanes, float* out, int64_t out_stride) {
  for (int64_t row = 0; row < strip.rows; row += group_rows) {
    const auto [begin, end] = group_span(strip, row);
    const Span seen{std::max(columns.begin, begin), std::min(columns.end, end)};
    if (seen.begin >= seen.end) continue;
    value_tile<V, partial>(strip.data + row * strip.stride, strip.stride, seen, value, value_stride,
                           last_lanes, out + row * out_stride, out_stride);
  }
}

inline void weighted_values(const Strip& strip, Span columns, const float* value, int64_t value_stride,
                            int64_t head_dim, float* out) {
  const int64_t n = lanes(), out_stride = (head_dim + 15) / 16 * 16;
  const int64_t last_lanes = head_dim % n;
  const int64_t vectors = (head_dim + n - 1) / n;
  const int64_t tiles = (vectors + tile_vectors - 1) / tile_vectors;
  int64_t first = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    // Tiles of nearly one width: a lone last vector would leave most registers idle.
    const int64_t here = (vectors - first + tiles - tile - 1) / (tiles - tile);
    const bool partial = last_lanes != 0 && tile == tiles - 1;
    const float* const from = value + first * n;
    float* const to = out + first * n;
    const auto run = [&](auto full_kernel, auto partial_kernel) {
      (partial ? partial_kernel : full_kernel)(strip, columns, from, value_stride, last_lanes, to,
                                               out_stride);
    };
    if (here == 1) run(&value_tiles<1, false>, &value_tiles<1, true>);
    if (here == 2) run(&value_tiles<2, false>, &value_tiles<2, true>);
    if constexpr (tile_vectors == 4) {
      if (here == 3) run(&value_tiles<3, false>, &value_tiles<3, true>);
      if (here == 4) run(&value_tiles<4, false>, &value_tiles<4, true>);
    }
    first += here;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvviz::kernels
HWY_AFTER_NAMESPACE();

#endif
