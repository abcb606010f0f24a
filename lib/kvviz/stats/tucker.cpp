// SPDX-License-Identifier: MIT
#include "kvviz/stats/tucker.hpp"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "kvviz/core/error.hpp"
#include "kvviz/stats/leading_vectors.hpp"

namespace kvviz::stats {
namespace {

/// Energy that f32 products do not resolve: what is lost below this share of |X|^2 is measured on the
/// residual.
constexpr double kCancelled = 1e-3, kRounding = 1e-7;

struct Tensor {
  std::vector<float> values;
  int64_t heads = 0, tokens = 0, channels = 0;
  TensorView view() const { return {values.data(), heads, tokens, channels}; }
};

Tensor zeros(int64_t heads, int64_t tokens, int64_t channels) {
  return {std::vector<float>(static_cast<size_t>(heads * tokens * channels)), heads, tokens, channels};
}

blasint blas(int64_t n) {
  return static_cast<blasint>(n);
}

/// A factor as it multiplies f32 data: row-major [size, rank].
struct Factor {
  std::vector<float> values;
  int64_t size = 0, rank = 0;
};

Factor narrowed(const Basis& basis) {
  Factor factor{.size = basis.size, .rank = basis.rank};
  factor.values.reserve(basis.vectors.size());
  for (const double value : basis.vectors) factor.values.push_back(static_cast<float>(value));
  return factor;
}

/// out [m, n] = op(a) [m, k] b [k, n], all row-major.
void multiply(CBLAS_TRANSPOSE op, const float* a, const float* b, float* out, std::array<int64_t, 3> mnk) {
  const auto [m, n, k] = mnk;
  cblas_sgemm(CblasRowMajor, op, CblasNoTrans, blas(m), blas(n), blas(k), 1, a,
              blas(op == CblasTrans ? m : k), b, blas(n), 0, out, blas(n));
}

Tensor on_heads(const TensorView& x, const Factor& u) {
  Tensor y = zeros(u.rank, x.tokens, x.channels);
  multiply(CblasTrans, u.values.data(), x.data, y.values.data(), {u.rank, x.tokens * x.channels, x.heads});
  return y;
}

Tensor on_tokens(const TensorView& x, const Factor& u) {
  Tensor y = zeros(x.heads, u.rank, x.channels);
  for (int64_t h = 0; h < x.heads; ++h) {
    multiply(CblasTrans, u.values.data(), x.data + h * x.tokens * x.channels,
             y.values.data() + h * u.rank * x.channels, {u.rank, x.channels, x.tokens});
  }
  return y;
}

Tensor on_channels(const TensorView& x, const Factor& u) {
  Tensor y = zeros(x.heads, x.tokens, u.rank);
  multiply(CblasNoTrans, x.data, u.values.data(), y.values.data(), {x.heads * x.tokens, u.rank, x.channels});
  return y;
}

Factor heads_of(const TensorView& x, int64_t rank) {
  return narrowed(leading_left({x.data, x.heads, x.tokens * x.channels}, rank));
}

Factor tokens_of(const TensorView& x, int64_t rank) {
  const std::vector<float> rows = token_rows(x);
  return narrowed(leading_left({rows.data(), x.tokens, x.heads * x.channels}, rank));
}

Factor channels_of(const TensorView& x, int64_t rank) {
  return narrowed(leading_right({x.data, x.heads * x.tokens, x.channels}, rank));
}

double energy(std::span<const float> x) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

double residual_energy(const TensorView& x, std::span<const float> approximation) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < approximation.size(); ++i) {
    const double d = static_cast<double>(x.data[i]) - static_cast<double>(approximation[i]);
    sum += d * d;
  }
  return sum;
}

struct Factors {
  Factor heads, tokens, channels;
  Tensor core;
  bool tokens_are_best = false;  ///< beside the two others: nothing changed since they were computed
};

/// One sweep: each truncated mode gets the best factor beside the two others. A mode of full rank keeps its
/// own: any orthogonal basis of it gives the same approximation.
void sweep(const TensorView& x, Factors& f) {
  const auto truncated = [](const Factor& u) { return u.rank < u.size; };
  const bool tokens = truncated(f.tokens) && (!f.tokens_are_best || truncated(f.heads));
  if (truncated(f.heads) || tokens) {
    const Tensor narrow = on_channels(x, f.channels);
    if (truncated(f.heads)) f.heads = heads_of(on_tokens(narrow.view(), f.tokens).view(), f.heads.rank);
    if (tokens) f.tokens = tokens_of(on_heads(narrow.view(), f.heads).view(), f.tokens.rank);
  }
  const Tensor small = on_heads(on_tokens(x, f.tokens).view(), f.heads);
  if (truncated(f.channels)) f.channels = channels_of(small.view(), f.channels.rank);
  f.core = on_channels(small.view(), f.channels);
  f.tokens_are_best = false;
}

Factors initial(const TensorView& x, const Ranks& ranks) {
  Factors f;
  f.channels = channels_of(x, ranks.channels);
  const Tensor narrow = on_channels(x, f.channels);
  f.heads = heads_of(narrow.view(), ranks.heads);
  const Tensor narrower = on_heads(narrow.view(), f.heads);
  f.tokens = tokens_of(narrower.view(), ranks.tokens);
  f.core = on_tokens(narrower.view(), f.tokens);
  f.tokens_are_best = true;
  return f;
}

}  // namespace

std::vector<float> token_rows(const TensorView& x) {
  std::vector<float> rows(static_cast<size_t>(x.elements()));
  for (int64_t h = 0; h < x.heads; ++h) {
    for (int64_t t = 0; t < x.tokens; ++t) {
      std::copy_n(x.data + (h * x.tokens + t) * x.channels, x.channels,
                  &rows[(t * x.heads + h) * x.channels]);
    }
  }
  return rows;
}

Ranks useful(const Ranks& ranks, const TensorView& x) {
  require<UsageError>(ranks.heads >= 1 && ranks.tokens >= 1 && ranks.channels >= 1, "[tucker] got ranks ",
                      ranks.heads, ':', ranks.tokens, ':', ranks.channels,
                      " (heads, tokens, channels); expected 1 or more of each");
  Ranks r{std::min(ranks.heads, x.heads), std::min(ranks.tokens, x.tokens),
          std::min(ranks.channels, x.channels)};
  for (Ranks before{}; before != r;) {
    before = r;
    r.heads = std::min(r.heads, r.tokens * r.channels);
    r.tokens = std::min(r.tokens, r.heads * r.channels);
    r.channels = std::min(r.channels, r.heads * r.tokens);
  }
  return r;
}

int64_t stored_elements(const Ranks& ranks, const TensorView& x) {
  return ranks.heads * ranks.tokens * ranks.channels + x.heads * ranks.heads + x.tokens * ranks.tokens +
         x.channels * ranks.channels;
}

Tucker tucker(const TensorView& x, const TuckerOptions& options) {
  const Ranks ranks = useful(options.ranks, x);
  const double total = energy({x.data, static_cast<size_t>(x.elements())});
  require(std::isfinite(total), "[tucker] the tensor has elements that are not finite");
  const auto lost = [&](const Factors& f) {
    return total > 0 ? std::max(1 - energy(f.core.values) / total, 0.0) : 0.0;
  };

  Factors f = initial(x, ranks);
  Tucker result{.ranks = ranks, .heads = x.heads, .tokens = x.tokens, .channels = x.channels};
  double share = lost(f);
  result.initial_error = std::sqrt(share);
  const int truncated = (ranks.heads < x.heads) + (ranks.tokens < x.tokens) + (ranks.channels < x.channels);
  const int most = truncated > 1 ? options.max_sweeps : 0;
  while (result.sweeps < most && share > kRounding) {
    const double before = std::sqrt(share);
    sweep(x, f);
    share = lost(f);
    if (++result.sweeps >= 3 && std::fabs(before - std::sqrt(share)) < options.tolerance) break;
  }
  result.core = std::move(f.core.values);
  result.factors = {std::move(f.heads.values), std::move(f.tokens.values), std::move(f.channels.values)};
  if (share < kCancelled && total > 0) share = residual_energy(x, reconstruct(result)) / total;
  result.error = std::sqrt(share);
  if (result.sweeps == 0) result.initial_error = result.error;
  return result;
}

std::vector<float> reconstruct(const Tucker& t) {
  const auto& [heads, tokens, channels] = t.factors;
  const Ranks& r = t.ranks;
  Tensor wide = zeros(t.heads, r.tokens, r.channels);
  multiply(CblasNoTrans, heads.data(), t.core.data(), wide.values.data(),
           {t.heads, r.tokens * r.channels, r.heads});
  Tensor wider = zeros(t.heads, r.tokens, t.channels);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, blas(t.heads * r.tokens), blas(t.channels),
              blas(r.channels), 1, wide.values.data(), blas(r.channels), channels.data(), blas(r.channels), 0,
              wider.values.data(), blas(t.channels));
  Tensor x = zeros(t.heads, t.tokens, t.channels);
  for (int64_t h = 0; h < t.heads; ++h) {
    multiply(CblasNoTrans, tokens.data(), wider.values.data() + h * r.tokens * t.channels,
             x.values.data() + h * t.tokens * t.channels, {t.tokens, t.channels, r.tokens});
  }
  return x.values;
}

}  // namespace kvviz::stats
