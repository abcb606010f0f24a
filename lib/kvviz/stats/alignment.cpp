// SPDX-License-Identifier: MIT
#include "kvviz/stats/alignment.hpp"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/thread_pool.hpp"
#include "kvviz/stats/blas.hpp"

namespace kvviz::stats {
namespace {

constexpr int64_t kBlockFloats = int64_t{16} << 20;  // of all items' kernels at a time
constexpr int64_t kLeastRows = 8;                    // of a block
constexpr int64_t kTile = 48;                        // items
constexpr int64_t kPiece = 2048;                     // elements between two f64 sums

blasint blas(int64_t n) {
  return static_cast<blasint>(n);
}

/// An item's column means, and its energy above them.
struct Centred {
  std::vector<double> mean;
  double energy = 0;
};

/// Rows [first, first + count) of the kernels of all items, right of the diagonal and with it: the square on
/// the diagonal, then what is right of it times sqrt 2, so that a product of two counts both triangles.
struct Block {
  int64_t first = 0, count = 0, rest = 0;
  int64_t size() const { return count * (count + rest); }
};

Centred centre(MatrixView x, double* diagonal) {
  Centred c{.mean = column_means(x)};
  double squares = 0;
  for (int64_t r = 0; r < x.rows; ++r) {
    const float* const row = x.data + r * x.cols;
    double energy = 0;
#pragma omp simd reduction(+ : energy, squares)
    for (int64_t k = 0; k < x.cols; ++k) {
      const double value = row[k], above = value - c.mean[k];
      energy += above * above;
      squares += value * value;
    }
    diagonal[r] = energy;
    c.energy += energy;
  }
  if (c.energy <= kNoVariance * squares) {
    c.energy = 0;
    std::fill_n(diagonal, x.rows, 0.0);
  }
  return c;
}

/// The rows from `first` on, centred, of energy rows - 1 over all rows, and one column more that adds 1 /
/// rows to every element of the kernel.
void scale(MatrixView x, const Centred& c, int64_t first, std::vector<float>& out) {
  const double factor = std::sqrt(static_cast<double>(x.rows - 1) / c.energy);
  const auto last = static_cast<float>(1 / std::sqrt(static_cast<double>(x.rows)));
  out.resize((x.rows - first) * (x.cols + 1));
  for (int64_t r = first; r < x.rows; ++r) {
    const float* const from = x.data + r * x.cols;
    float* const to = out.data() + (r - first) * (x.cols + 1);
#pragma omp simd
    for (int64_t k = 0; k < x.cols; ++k)
      to[k] = static_cast<float>((static_cast<double>(from[k]) - c.mean[k]) * factor);
    to[x.cols] = last;
  }
}

void kernel_block(const std::vector<float>& x, int64_t cols, const Block& block, float* out) {
  const auto product = [&](int64_t from, int64_t count, float factor, float* to) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, blas(block.count), blas(count), blas(cols), factor,
                x.data(), blas(cols), x.data() + from * cols, blas(cols), 0, to, blas(count));
  };
  product(0, block.count, 1, out);
  for (int64_t r = 0; r < block.count; ++r) out[r * block.count + r] -= 1;
  if (block.rest > 0)
    product(block.count, block.rest, std::numbers::sqrt2_v<float>, out + block.count * block.count);
}

/// Adds the products of the items' rows of `length` to those at and above the diagonal.
void add_products(const std::vector<float>& rows, int64_t length, KernelProducts& sum) {
  const int64_t n = sum.items, tiles = (n + kTile - 1) / kTile;
  kernels::parallel_for(tiles * (tiles + 1) / 2, [&](int64_t task) {
    int64_t left = 0;
    while (task >= tiles - left) task -= tiles - left++;
    const int64_t i0 = left * kTile, j0 = (left + task) * kTile;
    const int64_t height = std::min(kTile, n - i0), width = std::min(kTile, n - j0);
    std::vector<float> tile(height * width);
    for (int64_t k = 0; k < length; k += kPiece) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, blas(height), blas(width),
                  blas(std::min(kPiece, length - k)), 1, rows.data() + i0 * length + k, blas(length),
                  rows.data() + j0 * length + k, blas(length), 0, tile.data(), blas(width));
      for (int64_t i = 0; i < height; ++i)
        for (int64_t j = 0; j < width; ++j) sum.products[(i0 + i) * n + j0 + j] += tile[i * width + j];
    }
  });
}

void sum_diagonals(KernelProducts& p) {
  for (int64_t i = 0; i < p.items; ++i) {
    double sum = 0;
    for (int64_t r = 0; r < p.rows; ++r) {
      const double share = p.diagonals[i * p.rows + r] / p.traces[i];
      sum += share * share;
    }
    p.squares.push_back(sum);
  }
}

/// To the items' own energies, and both triangles.
void finish(KernelProducts& p) {
  const auto unit = static_cast<double>(p.rows - 1);
  for (int64_t i = 0; i < p.items; ++i)
    for (int64_t j = i; j < p.items; ++j) {
      const double value = p.products[i * p.items + j] * (p.traces[i] / unit) * (p.traces[j] / unit);
      p.products[i * p.items + j] = p.products[j * p.items + i] = value;
    }
}

}  // namespace

KernelProducts kernel_products(int64_t items, const ItemRows& rows_of) {
  KernelProducts p{.items = items};
  if (items == 0) return p;
  const SerialBlas serial;
  std::vector<float> first_item;
  p.rows = rows_of(0, first_item).rows;
  p.products.assign(items * items, 0.0);
  p.traces.assign(items, 0.0);
  p.diagonals.assign(items * p.rows, 0.0);
  std::vector<Centred> centred(items);
  kernels::parallel_for(items, [&](int64_t i) {
    std::vector<float> scratch;
    const MatrixView x = rows_of(i, scratch);
    require(x.rows == p.rows, "[kernel_products] matrix ", i, " has ", x.rows, " rows, the first ", p.rows);
    centred[i] = centre(x, p.diagonals.data() + i * p.rows);
    p.traces[i] = centred[i].energy;
  });
  sum_diagonals(p);
  if (p.rows < 2) return p;
  const int64_t height = std::clamp(kBlockFloats / (items * p.rows), std::min(kLeastRows, p.rows), p.rows);
  std::vector<float> kernels(items * height * p.rows);
  for (int64_t first = 0; first < p.rows; first += height) {
    const int64_t count = std::min(height, p.rows - first);
    const Block block{first, count, p.rows - first - count};
    kernels::parallel_for(items, [&](int64_t i) {
      float* const out = kernels.data() + i * block.size();
      if (p.traces[i] == 0) {
        std::fill_n(out, block.size(), 0.0F);
        return;
      }
      std::vector<float> scratch, scaled;
      const MatrixView x = rows_of(i, scratch);
      scale(x, centred[i], first, scaled);
      kernel_block(scaled, x.cols + 1, block, out);
    });
    add_products(kernels, block.size(), p);
  }
  finish(p);
  return p;
}

KernelProducts joined(const KernelProducts& parts, std::span<const int64_t> group, int64_t groups) {
  require(std::ssize(group) == parts.items, "[joined] got groups of ", group.size(), " items; expected ",
          parts.items);
  KernelProducts p{.items = groups, .rows = parts.rows};
  p.products.assign(groups * groups, 0.0);
  p.traces.assign(groups, 0.0);
  p.diagonals.assign(groups * p.rows, 0.0);
  for (int64_t i = 0; i < parts.items; ++i) {
    p.traces[group[i]] += parts.traces[i];
    for (int64_t r = 0; r < p.rows; ++r)
      p.diagonals[group[i] * p.rows + r] += parts.diagonals[i * p.rows + r];
    for (int64_t j = 0; j < parts.items; ++j)
      p.products[group[i] * groups + group[j]] += parts.products[i * parts.items + j];
  }
  sum_diagonals(p);
  return p;
}

Alignment alignment(const KernelProducts& p, int64_t i, int64_t j) {
  Alignment a;
  if (p.traces[i] == 0 || p.traces[j] == 0) return a;
  const auto n = static_cast<double>(p.rows);
  // In units of each kernel's trace.
  const double own_i = p.products[i * p.items + i] / (p.traces[i] * p.traces[i]),
               own_j = p.products[j * p.items + j] / (p.traces[j] * p.traces[j]),
               both = p.products[i * p.items + j] / (p.traces[i] * p.traces[j]);
  const double even = 1 / (n - 1), squares_i = own_i + even, squares_j = own_j + even;
  const double norms = std::sqrt(squares_i * squares_j), room = norms - even;
  a.cka.value = std::clamp((both + even) / norms, 0.0, 1.0);
  a.cka.chance = std::min(even / norms, 1.0);
  if (room > 1e-9 * norms) a.cka.excess = std::min(both / room, 1.0);
  if (p.rows < 4) return a;
  const auto skew = [&](double squares, double of_diagonal) {
    return n * (n + 1) * of_diagonal - (n - 1) * (1 + 2 * squares);
  };
  // (n - 1) squares - 1 = (n - 1) own: the part that chance cannot explain.
  const double variance = 2 * own_i * own_j / ((n + 1) * (n - 2)) +
                          skew(squares_i, p.squares[i]) * skew(squares_j, p.squares[j]) /
                              ((n + 1) * n * (n - 1) * (n - 2) * (n - 3));
  if (variance > 0) a.deviations = both / std::sqrt(variance);
  return a;
}

}  // namespace kvviz::stats
