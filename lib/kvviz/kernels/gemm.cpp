// SPDX-License-Identifier: MIT
#include "kvviz/kernels/gemm.hpp"

#include <cblas.h>

#include <algorithm>

#include "kvviz/kernels/few_rows_simd.hpp"
#include "kvviz/kernels/thread_pool.hpp"

namespace kvviz::kernels {
namespace {

// OpenBLAS's own threads would compete with the pool's. The setting is for the whole process.
void use_one_blas_thread() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

/// [0, total) in `pieces` pieces of nearly one size, each a multiple of `unit` but the last.
struct Split {
  Split(int64_t total_size, int64_t piece_size, int64_t unit) : total(total_size) {
    const int64_t wanted = std::max<int64_t>((total + piece_size - 1) / piece_size, 1);
    const int64_t even = (total + wanted - 1) / wanted;
    piece = (even + unit - 1) / unit * unit;
    pieces = (total + piece - 1) / piece;
  }
  int64_t begin(int64_t i) const { return i * piece; }
  int64_t size(int64_t i) const { return std::min(piece, total - i * piece); }
  int64_t total = 0, piece = 0, pieces = 0;
};

// OpenBLAS copies both operands of a tile once: square tiles copy least, and narrow layers still need enough
// tiles for every thread.
constexpr int64_t tile_rows = 512;
constexpr int64_t tile_columns = 384;
constexpr int64_t narrowest_tile = 96;
constexpr int64_t wanted_tiles = 16;

}  // namespace

void linear(const float* x, const float* w, const float* b, float* y, int64_t rows, int64_t in, int64_t out,
            int64_t y_stride) {
  if (rows <= 0 || out <= 0) return;
  if (rows <= few_rows) {
    // 256 KB of W per task: small enough to share out, large enough not to notice the sharing.
    const Split columns(out, std::max<int64_t>((int64_t{1} << 16) / std::max<int64_t>(in, 1), 8), 8);
    parallel_for(columns.pieces, [&](int64_t i) {
      const int64_t first = columns.begin(i);
      few_rows_product({.x = x,
                        .rows = rows,
                        .in = in,
                        .w = w + first * in,
                        .w_stride = in,
                        .b = b ? b + first : nullptr,
                        .y = y + first,
                        .out = columns.size(i),
                        .y_stride = y_stride});
    });
    return;
  }
  use_one_blas_thread();
  const Split row_tiles(rows, tile_rows, 1);
  const int64_t column_tiles = std::max<int64_t>(wanted_tiles / row_tiles.pieces, 1);
  const int64_t width = std::clamp((out + column_tiles - 1) / column_tiles, narrowest_tile, tile_columns);
  const Split columns(out, width, 16);
  parallel_for(row_tiles.pieces * columns.pieces, [&](int64_t i) {
    const int64_t row = row_tiles.begin(i / columns.pieces), height = row_tiles.size(i / columns.pieces);
    const int64_t first = columns.begin(i % columns.pieces), size = columns.size(i % columns.pieces);
    float* const tile = y + row * y_stride + first;
    for (int64_t r = 0; b != nullptr && r < height; ++r) std::copy_n(b + first, size, tile + r * y_stride);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(height),
                static_cast<blasint>(size), static_cast<blasint>(in), 1.0F, x + row * in,
                static_cast<blasint>(in), w + first * in, static_cast<blasint>(in),
                b != nullptr ? 1.0F : 0.0F, tile, static_cast<blasint>(y_stride));
  });
}

}  // namespace kvviz::kernels
