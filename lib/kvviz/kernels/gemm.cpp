// SPDX-License-Identifier: MIT
#include "kvviz/kernels/gemm.hpp"

#include <cblas.h>

#include <algorithm>
#include <vector>

#include "kvviz/kernels/aligned_floats.hpp"
#include "kvviz/kernels/bf16_product.hpp"
#include "kvviz/kernels/few_rows_simd.hpp"
#include "kvviz/kernels/halves_simd.hpp"
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
constexpr int64_t widened_inputs = 768;  // of a tile at a time: they stay in the second-level cache

/// Some rows of y by some outputs.
struct Tile {
  int64_t rows = 0;
  LinearWeights w;
  float* y = nullptr;
  int64_t y_stride = 0;
};

void few_rows_linear(const LinearWeights& w, const float* x, int64_t rows, float* y, int64_t y_stride) {
  // About 256 KB of W per task, and as many tasks for one thread as for another: there is little else to wait
  // for. An output does not depend on the cut.
  const int64_t threads = thread_count(), bytes = w.out * w.in * bytes_of(w.type);
  const int64_t tasks = threads * (bytes / (threads << 18) + 1);
  const Split columns(w.out, (w.out + tasks - 1) / tasks, 8);
  parallel_for(columns.pieces, [&](int64_t i) {
    const LinearWeights part = w.rows(columns.begin(i), columns.size(i));
    few_rows_product({.x = x,
                      .rows = rows,
                      .in = w.in,
                      .w = part.data,
                      .w_stride = w.in,
                      .b = part.bias,
                      .y = y + columns.begin(i),
                      .out = part.out,
                      .y_stride = y_stride,
                      .type = w.type});
  });
}

/// y = x W^T + b of a tile with f32 weights that are `w_stride` floats apart; `inputs` of them from x and w
/// on. `keep` times what y holds is added.
struct Slice {
  const float* x = nullptr;
  int64_t x_stride = 0;
  const float* w = nullptr;
  int64_t w_stride = 0, inputs = 0;
  float keep = 0;
};
void multiply(const Tile& tile, const Slice& slice) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(tile.rows),
              static_cast<blasint>(tile.w.out), static_cast<blasint>(slice.inputs), 1.0F, slice.x,
              static_cast<blasint>(slice.x_stride), slice.w, static_cast<blasint>(slice.w_stride), slice.keep,
              tile.y, static_cast<blasint>(tile.y_stride));
}

void f32_tile(const Tile& tile, const float* x) {
  const LinearWeights& w = tile.w;
  for (int64_t r = 0; w.bias != nullptr && r < tile.rows; ++r)
    std::copy_n(w.bias, w.out, tile.y + r * tile.y_stride);
  float keep = w.bias != nullptr ? 1.0F : 0.0F;
  if (w.type == WeightType::f32)
    return multiply(tile, {x, w.in, static_cast<const float*>(w.data), w.in, w.in, keep});
  static thread_local AlignedFloats buffer;
  float* const widened = buffer.at_least(w.out * std::min(widened_inputs, w.in));
  for (int64_t first = 0; first < w.in || first == 0; first += widened_inputs) {
    const int64_t inputs = std::min(widened_inputs, w.in - first);
    widen({.w = static_cast<const uint16_t*>(w.data) + first,
           .type = w.type,
           .rows = w.out,
           .columns = inputs,
           .stride = w.in,
           .out = widened});
    multiply(tile, {x + first, w.in, widened, inputs, inputs, keep});
    keep = 1;
  }
}

/// x as bf16, in memory that is used again by the thread's next call.
const uint16_t* rounded(const float* x, int64_t rows, int64_t in) {
  static thread_local std::vector<uint16_t> buffer;
  if (std::ssize(buffer) < rows * in) buffer.resize(static_cast<size_t>(rows * in));
  uint16_t* const out = buffer.data();
  const Split pieces(rows * in, int64_t{1} << 16, 64);
  parallel_for(pieces.pieces,
               [&](int64_t i) { round_to_bf16(x + pieces.begin(i), pieces.size(i), out + pieces.begin(i)); });
  return out;
}

}  // namespace

void linear(const LinearWeights& w, const float* x, int64_t rows, float* y, int64_t y_stride) {
  if (rows <= 0 || w.out <= 0) return;
  if (rows <= few_rows) return few_rows_linear(w, x, rows, y, y_stride);
  use_one_blas_thread();
  const uint16_t* const bf16 =
      w.type == WeightType::bf16 && w.in > 0 && bf16_products() ? rounded(x, rows, w.in) : nullptr;
  const Split row_tiles(rows, tile_rows, 1);
  const int64_t column_tiles = std::max<int64_t>(wanted_tiles / row_tiles.pieces, 1);
  const int64_t width = std::clamp((w.out + column_tiles - 1) / column_tiles, narrowest_tile, tile_columns);
  const Split columns(w.out, width, 16);
  parallel_for(row_tiles.pieces * columns.pieces, [&](int64_t i) {
    const int64_t row = row_tiles.begin(i / columns.pieces), column = columns.begin(i % columns.pieces);
    const Tile tile{.rows = row_tiles.size(i / columns.pieces),
                    .w = w.rows(column, columns.size(i % columns.pieces)),
                    .y = y + row * y_stride + column,
                    .y_stride = y_stride};
    if (bf16 == nullptr) return f32_tile(tile, x + row * w.in);
    bf16_product({.x = bf16 + row * w.in,
                  .rows = tile.rows,
                  .in = w.in,
                  .w = static_cast<const uint16_t*>(tile.w.data),
                  .b = tile.w.bias,
                  .y = tile.y,
                  .out = tile.w.out,
                  .y_stride = y_stride});
  });
}

void linear(const float* x, const float* w, const float* b, float* y, int64_t rows, int64_t in, int64_t out,
            int64_t y_stride) {
  linear({.data = w, .in = in, .out = out, .bias = b}, x, rows, y, y_stride);
}

}  // namespace kvviz::kernels
