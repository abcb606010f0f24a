// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <optional>
#include <string_view>

#include "kvviz/compress/codec.hpp"
#include "kvviz/stats/tucker.hpp"

namespace kvviz::compress {

// Factorisations of one layer's keys or values. All factors are stored in f16 (to nearest even, saturating at
// 65504) and what attention reads is their product in f32. Shapes are known to the reader; whatever else it
// needs is counted. Where the factors take more than f16 elements would (2 bytes each), the bytes say so.

/// How many directions a matrix [tokens, width] keeps: exactly one of the three. At least one direction stays
/// and at most min(tokens, width).
struct Kept {
  std::optional<int64_t> rank;   ///< this many
  std::optional<double> share;   ///< as many as fit in this share of the bytes of the matrix in f16
  std::optional<double> energy;  ///< the least number that carries this share of the sum of squares
};

/// Reads "RANK" (a whole number from 1) or "SHARE" (a decimal number between 0 and 1) of a method. Throws
/// UsageError naming it.
Kept parse_kept(std::string_view method, std::string_view text);

/// "RANK|SHARE[:GROUP]": `group` is `otherwise` when it is not given. Throws UsageError, also for a group of
/// 0.
struct GroupedKept {
  Kept kept;
  int64_t group = 0;
};
GroupedKept parse_grouped_kept(std::string_view method, std::string_view arguments, int64_t otherwise);

struct SvdOptions {
  Kept kept;
  bool center = false;  ///< the mean over tokens is subtracted and stored (PCA)
  bool joint = false;   ///< one basis for heads of the layer side by side: width = heads x head_dim
  int64_t group = 0;    ///< of a joint basis: so many neighbouring heads each, the last what is left; 0: all
};

/// Truncated SVD X = U S V' (Eckart & Young, Psychometrika 1, 1936) of each head's [tokens, head_dim], or of
/// all heads side by side (the joint subspace of Palu, arXiv 2407.21118, and xKV, arXiv 2503.18893). Payload:
/// U S [tokens, rank]; metadata: V' [rank, width], the mean [width] if centred, and two bytes a matrix for a
/// rank that depends on the data. With exact factors |X - restored|^2 is the sum of the squared singular
/// values left out, the least possible at this rank; f16 adds about 3e-4 |X|. Cost: a Gram matrix, an
/// eigenproblem of side min(tokens, width), two products; heads run in parallel. A caller that runs codecs in
/// parallel holds a stats::SerialBlas.
std::unique_ptr<Codec> svd_codec(const SvdOptions& options);

/// Ranks by mode, or the share of the f16 bytes that the ranks of the least HOSVD error may take
/// (stats::RankErrors::best_within): exactly one of the two.
struct TuckerKept {
  std::optional<stats::Ranks> ranks;
  std::optional<double> share;
};

/// Tucker decomposition of [kv_heads, tokens, head_dim] (stats::tucker with its default sweeps). Payload: the
/// core; metadata: the three factors. The factor of the tokens is stored times sqrt(tokens), the core divided
/// by it, so that neither leaves the range of f16. Ranks follow stats::useful. Serial.
std::unique_ptr<Codec> tucker_codec(const TuckerKept& kept);

/// A decomposition as it is stored, and the tensor that is read back.
Coded code_tucker(stats::Tucker tucker);

/// Channels of a head that go up and down together share one stored channel: groups by complete linkage of
/// the |Pearson correlation| over the tokens, at least `similarity` (0 to 1) and at least what chance alone
/// gives the best of all pairs (so that noise forms no groups however few the tokens). Stored of a group: the
/// first principal component of its channels [tokens] as payload, a scale and a mean a channel as metadata;
/// of any other channel its elements in f16; of every channel the index of its group in two bytes. A group
/// that would take more than its channels is not formed. With exact numbers |X - restored|^2 is the energy of
/// the principal components left out. Cost: tokens x head_dim^2, and head_dim^3 at worst; heads run in
/// parallel.
std::unique_ptr<Codec> groups_codec(double similarity);

}  // namespace kvviz::compress
