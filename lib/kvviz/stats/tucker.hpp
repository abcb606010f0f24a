// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace kvviz::stats {

/// A dense row-major f32 tensor [heads, tokens, channels] that is borrowed.
struct TensorView {
  const float* data = nullptr;
  int64_t heads = 0, tokens = 0, channels = 0;
  int64_t elements() const { return heads * tokens * channels; }
};

/// The unfolding along tokens: row-major [tokens, heads x channels].
std::vector<float> token_rows(const TensorView& x);

/// How many directions of each mode are kept.
struct Ranks {
  int64_t heads = 0, tokens = 0, channels = 0;
  bool operator==(const Ranks&) const = default;
};

/// The ranks that have a use: each at most the size of its mode and the product of the other two (a core
/// [h, t, c] has no more than h x c independent slices along t). What is cut off changes no approximation.
/// Throws UsageError for a rank below 1.
Ranks useful(const Ranks& ranks, const TensorView& x);

/// Elements that are stored: h t c of the core, and heads h + tokens t + channels c of the factors. May
/// exceed those of x: that is an expansion.
int64_t stored_elements(const Ranks& ranks, const TensorView& x);

/// X ~ core x1 U_heads x2 U_tokens x3 U_channels (Tucker, Psychometrika 31, 1966).
struct Tucker {
  Ranks ranks;              ///< those asked for, as far as useful()
  std::vector<float> core;  ///< [ranks.heads, ranks.tokens, ranks.channels]
  /// Of heads, tokens, channels: row-major [size of the mode, rank], orthonormal columns.
  std::array<std::vector<float>, 3> factors;
  int64_t heads = 0, tokens = 0, channels = 0;  ///< of X
  double error = 0;                             ///< |X - approximation| / |X|, 0 when X is 0; less is better
  double initial_error = 0;                     ///< the same before the first sweep
  int sweeps = 0;
};

struct TuckerOptions {
  Ranks ranks;
  int max_sweeps = 100;  ///< 0: the initial factors are the result
  double tolerance =
      1e-4;  ///< sweeps end when the error changes by less, from the third on (TensorLy's rule)
};

/// Sequentially truncated HOSVD, channels first (Vannieuwenhoven, Vandebril & Meerbergen, SIAM J. Sci.
/// Comput. 34, 2012), then sweeps of higher-order orthogonal iteration (De Lathauwer, De Moor & Vandewalle,
/// SIAM J. Matrix Anal. Appl. 21, 2000) that never raise the error. Modes of full rank need no sweep, and
/// with one truncated mode or none (of useful ranks) the initial factors are optimal. Products in f32, Gram
/// matrices, eigenvectors and norms in fp64; the error comes from |X|^2 - |core|^2, and from the residual
/// itself where that cancels. Throws UsageError for a rank below 1, DataError when X is not finite. Cost of a
/// sweep: two products of X with a factor and an eigenproblem of side min(size, product of the other ranks)
/// for each truncated mode; no unfolding is decomposed and memory is O(X). Serial: run layers in parallel.
/// Make a SerialBlas first.
Tucker tucker(const TensorView& x, const TuckerOptions& options);

/// The approximation [heads, tokens, channels], from core and factors as they are.
std::vector<float> reconstruct(const Tucker& tucker);

/// Spectra of the three unfoldings, and the error of HOSVD (the projection on the leading directions of each
/// mode; De Lathauwer, De Moor & Vandewalle, SIAM J. Matrix Anal. Appl. 21, 2000) at all ranks at once.
class RankErrors {
 public:
  /// Squared singular values of the unfolding along heads, tokens or channels, descending; along tokens at
  /// most heads x channels of them.
  const std::vector<double>& heads() const { return energies_[0]; }
  const std::vector<double>& tokens() const { return energies_[1]; }
  const std::vector<double>& channels() const { return energies_[2]; }

  /// |X - HOSVD| / |X| at these ranks, those above the table's sizes like the largest; 0 when X is 0.
  /// tucker() has at most this error, and at least that of the mode cut worst. Never rises with a rank. Below
  /// 1e-7 it is rounding.
  double error(const Ranks& ranks) const;

  /// The ranks of the least error() that store no more than `elements`; {1, 1, 1} if nothing does. Of equal
  /// errors, the one stored in fewest elements. heads x channels look-ups.
  Ranks best_within(int64_t elements, const TensorView& x) const;

 private:
  friend RankErrors rank_errors(const TensorView& x);
  std::array<std::vector<double>, 3> energies_;
  std::vector<double> kept_;  // [heads, tokens, channels] energy of the core up to and with these indices
  double total_ = 0;
};

/// Everything in fp64. Eigenproblems of the three modes, the largest of side n = min(tokens, heads x
/// channels): about 10 n^3 flops, 5 n^2 doubles. Throws DataError when X is not finite. Make a SerialBlas
/// first.
RankErrors rank_errors(const TensorView& x);

}  // namespace kvviz::stats
