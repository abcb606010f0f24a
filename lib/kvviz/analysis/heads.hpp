// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "kvviz/analysis/legacy.hpp"
#include "kvviz/stats/moments.hpp"

namespace kvviz::analysis {

struct HeadsOptions {
  double small_eps = 0.1;  ///< an element is small when |x| < small_eps x RMS of its head
  bool center = true;      ///< spectra after subtracting the mean over tokens
  bool spectrum = true;    ///< ranks and CKA (the costly part); off: they are kNone
  double prunable = 0.5;   ///< legacy: a head is listed when the K or the V sparsity is above this
  LegacyOptions legacy;
  std::optional<LegacyThresholds> thresholds;  ///< of this cache, if known already
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit(s.small_eps, "small-eps", "an element is small below this multiple of its head's RMS");
    visit(s.center, "center", "subtract the mean over tokens before the spectra");
    visit(s.prunable, "legacy-prunable-heads", "legacy: count heads whose sparsity is above this");
  }
};
void validate(const HeadsOptions& options);  ///< throws UsageError

/// Keys or values of one head, X [tokens, head_dim], n = tokens x head_dim elements. All sums in fp64.
/// Measures marked (s) do not change when X is multiplied by a number.
struct HeadHalf {
  double mean = 0, std = 0;  ///< over all elements; divisor n
  double rms = 0, mean_abs = 0, abs_max = 0;
  double hoyer = 0;  ///< (s) (sqrt n - |x|_1 / |x|_2) / (sqrt n - 1), 0 dense .. 1 sparse; 1 when all zero
  double participation_ratio = 0;  ///< (s) (sum x^2)^2 / (n sum x^4): share of elements that carry the
                                   ///< energy, 1/n .. 1 (1/3 for Gaussian data); 0 when all zero
  double excess_kurtosis = kNone;  ///< (s) central m4 / m2^2 - 3, 0 for Gaussian data; kNone without variance
  std::array<double, 3> top_energy{1, 1, 1};  ///< (s) share of the energy in the largest 1 %, 5 %, 10 % of
                                              ///< |x| (ceil(p n) elements); 1 when all zero
  double small_share = 0;                     ///< (s) share of |x| < small_eps x rms; 1 when all zero
  double zero_share = 0;                      ///< (s) share of exact zeros
  double effective_rank =
      kNone;  ///< (s) exp of the entropy of s_i / sum s (singular values); Roy & Vetterli,
              ///< EUSIPCO 2007. 1 .. min(tokens, head_dim); kNone without energy (after centring)
  double stable_rank = kNone;  ///< (s) sum s_i^2 / s_1^2; kNone as above
  std::array<int64_t, 3> components{0, 0,
                                    0};  ///< (s) least number of components with 90, 95, 99 % of the energy
  LegacyStats legacy;
  int64_t legacy_below = 0;  ///< elements with |x| < tau: legacy.sparsity as a count, for merging
  stats::Moments moments;    ///< the sums behind the others, for merging
};

struct HeadRow {
  int layer = 0, head = 0;
  HeadHalf key, value;
  /// Linear CKA of keys and values over the tokens (Kornblith et al., ICML 2019, eq. 4): |Kc'Vc|^2 / (|Kc'Kc|
  /// |Vc'Vc|), 0 .. 1, invariant to rotation and scale of either. Biased upwards when tokens are few beside
  /// head_dim: compare with `cka_chance`. kNone when K or V is constant over the tokens.
  double cka = kNone;
  double cka_chance =
      kNone;  ///< its exact mean over random pairings of the tokens: tr(Gk) tr(Gv) / ((S-1) |Gk| |Gv|)
  double cka_excess =
      kNone;  ///< (cka - chance) / (1 - chance): 0 at chance, 1 at identity; kNone if chance is 1
};

/// Legacy: a head index averaged over the layers (the same index in two layers is not the same head).
struct LegacyHeadConsistency {
  int head = 0;
  double k_sparsity_mean = 0, k_sparsity_std = kNone;  ///< std with divisor layers - 1, kNone for one layer
  double v_sparsity_mean = 0, v_sparsity_std = kNone;
};

struct HeadsResult {
  std::vector<HeadRow>
      rows;  ///< layer by layer, KV heads in order; layers may have different numbers of heads
  LegacyThresholds thresholds;
  std::vector<LegacyHeadConsistency> legacy_consistency;  ///< by k_sparsity_std ascending (kNone last)
  std::vector<int64_t> legacy_prunable;                   ///< rows, by K then V sparsity descending
};

/// Per (layer, KV head) statistics of keys and values. Cost: a few passes over the cache, and with `spectrum`
/// 4 tokens x head_dim^2 flops and two eigenvalue problems of min(tokens, head_dim) per head. Extra memory:
/// one layer widened to f32, and head_dim^2 doubles per thread. Throws DataError on NaN or infinity.
HeadsResult heads(const KvView& cache, const HeadsOptions& options);

}  // namespace kvviz::analysis
