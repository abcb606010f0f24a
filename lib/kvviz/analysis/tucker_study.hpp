// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kvviz/analysis/cache_outcome.hpp"
#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/stats/tucker.hpp"

namespace kvviz::analysis {

/// Ranks by mode as they are asked for. A mode without a number stays whole; without any number: the heads
/// whole, a quarter of the min(tokens, heads x channels) directions of the tokens and half of the channels,
/// rounded up (of a long cache about a third of the elements).
struct TuckerRanks {
  std::optional<int64_t> heads, tokens, channels;
};
stats::Ranks ranks_for(const TuckerRanks& asked, const stats::TensorView& x);

/// Steps of a rank sweep: step s of 1 .. tucker_steps keeps s / tucker_steps of the directions of each mode
/// (of the tokens, of min(tokens, heads x channels)), rounded up.
inline constexpr int tucker_steps = 8;
stats::Ranks ranks_at_step(int step, const stats::TensorView& x);

/// Which halves of the cache are decomposed.
struct Halves {
  bool keys = true, values = true;
};

/// Keys or values of one layer of a cache, decomposed.
struct TuckerTensor {
  int layer = 0;
  Half half = Half::key;
  stats::Ranks asked;  ///< before what is of no use was cut off (stats::useful)
  stats::Tucker tucker;
  double energy = 0;  ///< |X|^2
};

/// Tensors of a cache in the order layer 0 keys, layer 0 values, layer 1 keys, ..., without the half left
/// out. Each is [kv_heads, tokens, head_dim]; layers may differ in shape.
using RankChoice = std::function<stats::Ranks(size_t index, const stats::TensorView& x)>;

/// stats::tucker() of every tensor, in parallel; max_sweeps 0 is HOSVD. Throws DataError naming the layer
/// that holds NaN or infinity, UsageError for a rank below 1. Memory: f32 copies of the tensors at work, and
/// all cores and factors.
std::vector<TuckerTensor> decompose(const KvView& cache, const Halves& halves, const RankChoice& ranks,
                                    int max_sweeps = stats::TuckerOptions{}.max_sweeps);

/// stats::rank_errors() of every tensor, in parallel. Throws as decompose().
std::vector<stats::RankErrors> spectra(const KvView& cache, const Halves& halves);

inline constexpr std::array<std::string_view, 3> tucker_modes{"heads", "tokens", "channels"};

/// Keys or values of one layer over all caches: energies and losses are summed before they are divided.
struct TuckerPart {
  int layer = 0;
  Half half = Half::key;
  int64_t caches = 0;
  /// By mode, means over the caches: sizes, ranks asked for, ranks used, and the ranks of the least HOSVD
  /// error that store no more elements.
  std::array<double, 3> sizes{}, asked{}, ranks{}, best{};
  double elements = 0, stored = 0;                          ///< sums over the caches
  double energy = 0, lost = 0, initial = 0, best_lost = 0;  ///< |X|^2, |X - approximation|^2
  int sweeps = 0;                                           ///< most of a cache
  std::array<std::vector<double>, 3> energies;              ///< by mode, squared singular values

  double error() const;          ///< |X - approximation| / |X|; 0 is best, 0 too when X is 0
  double initial_error() const;  ///< before the first sweep: sequentially truncated HOSVD
  double best_error() const;     ///< HOSVD at the ranks `best`
  double ratio() const { return elements / stored; }  ///< below 1: an expansion
};

/// Adds one cache to the parts of those before; `parts` is empty for the first.
void add(std::vector<TuckerPart>& parts, std::span<const TuckerTensor> tensors,
         std::span<const stats::RankErrors> spectra);

/// Adds the parts of other caches; `parts` is empty for the first. Means stay exact where they agree.
void add(std::vector<TuckerPart>& parts, std::span<const TuckerPart> others);

/// One half of all layers: sums of the sums. kNone errors and ratio when there is none.
struct TuckerTotal {
  double error = kNone;          ///< sqrt(sum of what is lost / sum of |X|^2): the whole cache as one tensor
  double initial_error = kNone;  ///< the same before the first sweep
  double mean_error = kNone;     ///< mean over the layers of their relative errors
  double ratio = kNone;          ///< elements / stored
  int sweeps = 0;                ///< most of a layer
};
TuckerTotal total(std::span<const TuckerPart> parts, Half half);

/// Error when one mode alone is cut to rank 1, 2, ..., from its squared singular values: sqrt of the share
/// left out. 0 when all are 0.
std::vector<double> error_curve(std::span<const double> energies);

/// Error curves of one mode of one half.
struct TuckerCurve {
  Half half = Half::key;
  KeyBasis basis = KeyBasis::post_rope;  ///< of the keys
  size_t mode = 0;                       ///< of tucker_modes
  std::vector<double> pooled;  ///< [rank - 1] of all layers as one tensor, each by its own directions
  std::vector<double> least, greatest;  ///< of a layer
};
TuckerCurve curve_of(std::span<const TuckerPart> parts, Half half, size_t mode);

/// Ranks that a table shows of a curve: 1, 2, 3, 4, 6, 8, 12, 16, ... up to and with `most`.
std::vector<int64_t> shown_ranks(int64_t most);

/// What the model makes of a cache that was decomposed and put together again.
struct TuckerOutcome {
  std::string family;  ///< tucker: ranks as asked or of the step; tucker_best: of the least HOSVD error that
                       ///< stores no more; svd: each head apart, in no more bytes
  KeyBasis basis = KeyBasis::post_rope;
  int step = 0;                   ///< of the sweep; 0: the ranks asked for
  std::array<double, 3> ranks{};  ///< mean over layers, halves and caches; 0: the family has none
  double key_error = kNone, value_error = kNone;  ///< of all layers as one tensor, factors in f16
  CacheOutcome outcome;
};

/// Filled by `kvviz tucker`; tables and figures read it.
struct TuckerStudy {
  std::string method;  ///< "hooi", "hosvd"
  std::string sides;   ///< "keys and values", "keys", "values"
  KeyBasis basis = KeyBasis::post_rope;
  bool has_rope = false, has_model = false;
  int layers = 0;
  int64_t texts = 0, caches = 0;
  double tokens = 0;  ///< of a cache, mean
  std::vector<TuckerPart> parts;
  std::vector<TuckerPart> other_keys;  ///< in the other basis; empty: not computed
  int layer = 0;                       ///< whose components are kept, of the first cache
  std::vector<TuckerTensor> components;
  std::vector<TuckerOutcome> outcomes;    ///< at the ranks asked for; losses kNone without a model
  std::vector<TextOutcome> by_text;       ///< of each text all outcomes; empty without a model
  std::vector<CacheOutcome> sensitivity;  ///< [layer] when it alone is decomposed; empty: not measured
  std::vector<TuckerOutcome> sweep;       ///< empty: not asked for
  double full_ppl = kNone, full_nll = kNone;
};

/// The outcome of a family with the fewest bytes, less than those of the cache in f16, in the sweep that
/// raises the perplexity by less than `percent` %; null: none.
const TuckerOutcome* smallest_within(const TuckerStudy& study, std::string_view family, double percent);

/// "tucker", "tucker_best", "svd".
inline constexpr std::array<std::string_view, 3> tucker_families{"tucker", "tucker_best", "svd"};

}  // namespace kvviz::analysis
