// SPDX-License-Identifier: MIT
#include <cblas.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "kvviz/core/error.hpp"
#include "kvviz/stats/leading_vectors.hpp"
#include "kvviz/stats/tucker.hpp"

namespace kvviz::stats {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

blasint blas(int64_t n) {
  return static_cast<blasint>(n);
}

/// U'A of A [tokens, width] = U S W', row-major [min(tokens, width), width], from the eigenvectors of the
/// smaller Gram matrix: those of A'A give S W' without U.
std::vector<double> token_core(const std::vector<float>& rows, int64_t width, const Basis& small, bool tall) {
  const int64_t side = small.size;
  const Eigen::Map<const RowMajor> vectors(small.vectors.data(), side, side);
  std::vector<double> core(static_cast<size_t>(side * width));
  Eigen::Map<RowMajor> out(core.data(), side, width);
  if (tall) {
    const Eigen::Map<const Eigen::VectorXd> energies(small.energies.data(), side);
    out = energies.cwiseSqrt().asDiagonal() * vectors.transpose();
  } else {
    const std::vector<double> wide(rows.begin(), rows.end());
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, blas(side), blas(width), blas(side), 1,
                small.vectors.data(), blas(side), wide.data(), blas(width), 0, core.data(), blas(width));
  }
  return core;
}

}  // namespace

double RankErrors::error(const Ranks& ranks) const {
  require<UsageError>(ranks.heads >= 1 && ranks.tokens >= 1 && ranks.channels >= 1,
                      "[rank_errors] got ranks ", ranks.heads, ':', ranks.tokens, ':', ranks.channels,
                      " (heads, tokens, channels); expected 1 or more of each");
  if (total_ == 0) return 0;
  const auto last = [](int64_t rank, const std::vector<double>& mode) {
    return std::min(rank, std::ssize(mode)) - 1;
  };
  const int64_t h = last(ranks.heads, energies_[0]), t = last(ranks.tokens, energies_[1]),
                c = last(ranks.channels, energies_[2]);
  const double kept = kept_[(h * std::ssize(energies_[1]) + t) * std::ssize(energies_[2]) + c];
  return std::sqrt(std::max(1 - kept / total_, 0.0));
}

Ranks RankErrors::best_within(int64_t elements, const TensorView& x) const {
  Ranks best{1, 1, 1};
  double least = 2;
  for (int64_t h = 1; h <= std::ssize(energies_[0]); ++h) {
    for (int64_t c = 1; c <= std::ssize(energies_[2]); ++c) {
      // Elements grow by h c + tokens with every token direction.
      const int64_t room = (elements - x.heads * h - x.channels * c) / (h * c + x.tokens);
      if (room < 1) break;
      const Ranks ranks = useful({h, std::min(room, std::ssize(energies_[1])), c}, x);
      const double got = error(ranks);
      const bool smaller = stored_elements(ranks, x) < stored_elements(best, x);
      if (got < least || (got == least && smaller)) {
        least = got;
        best = ranks;
      }
    }
  }
  return best;
}

RankErrors rank_errors(const TensorView& x) {
  require(std::isfinite(largest_magnitude({x.data, static_cast<size_t>(x.elements())})),
          "[rank_errors] the tensor has elements that are not finite");
  const int64_t width = x.heads * x.channels;
  const std::vector<float> rows = token_rows(x);
  const bool tall = x.tokens >= width;
  const Gram by_token = gram({rows.data(), x.tokens, width}, {});
  const Basis tokens = leading_eigenvectors(by_token, by_token.side);
  const Basis heads =
      leading_left({x.data, x.heads, x.tokens * x.channels}, std::min(x.heads, x.tokens * x.channels));
  const Basis channels =
      leading_right({x.data, x.heads * x.tokens, x.channels}, std::min(x.channels, x.heads * x.tokens));

  std::vector<double> core = token_core(rows, width, tokens, tall);  // [tokens.size, heads, channels]
  const int64_t slices = tokens.size, h = heads.rank, c = channels.rank;
  std::vector<double> narrow(static_cast<size_t>(slices * x.heads * c));
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, blas(slices * x.heads), blas(c), blas(x.channels), 1,
              core.data(), blas(x.channels), channels.vectors.data(), blas(c), 0, narrow.data(), blas(c));

  RankErrors result;
  result.energies_ = {heads.energies, tokens.energies, channels.energies};
  result.total_ = by_token.trace;
  result.kept_.assign(static_cast<size_t>(h * slices * c), 0.0);
  const auto kept = [&](int64_t i, int64_t t, int64_t k) -> double& {
    return result.kept_[(i * slices + t) * c + k];
  };
  const Eigen::Map<const RowMajor> head_vectors(heads.vectors.data(), x.heads, h);
  for (int64_t t = 0; t < slices; ++t) {
    const Eigen::Map<const RowMajor> slice(narrow.data() + t * x.heads * c, x.heads, c);
    const RowMajor squares = (head_vectors.transpose() * slice).array().square();
    for (int64_t i = 0; i < h; ++i) {
      double along = 0;
      for (int64_t k = 0; k < c; ++k) {
        along += squares(i, k);
        kept(i, t, k) = along + (i > 0 ? kept(i - 1, t, k) : 0);
      }
    }
    if (t == 0) continue;
    for (int64_t i = 0; i < h; ++i) {
      for (int64_t k = 0; k < c; ++k) kept(i, t, k) += kept(i, t - 1, k);
    }
  }
  return result;
}

}  // namespace kvviz::stats
