// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "kvviz/compress/codec.hpp"
#include "kvviz/compress/low_rank.hpp"

namespace kvviz::compress {

// Codecs that store something once for several layers. All of them code through code_layers(); code() is that
// of a model of one layer, where nothing can be shared. Keys and values never share with one another.

struct XkvOptions {
  Kept kept;          ///< rank, or the share of the group's f16 bytes
  int64_t group = 4;  ///< adjacent layers that share, from the first layer on; 1 or more
};

/// xKV (Chang et al., 2025, arXiv 2503.18893): the keys (or values) of `group` adjacent layers side by side,
/// [tokens, layers x kv_heads x head_dim] = U S V' truncated at the rank: one basis of the tokens for all of
/// them. Payload: U S [tokens, rank], a layer's part of it is 1 / layers; metadata: each layer's own V'
/// [rank, kv_heads x head_dim]. Both in f16, as in svd_codec, whose joint form this is with one layer. With
/// exact factors the squared error over the group is the sum of the squared singular values left out. A group
/// ends early where the shape of a layer is another (and at the last layer). The paper's keys are those
/// before RoPE; here they are what the cache holds. Cost: as svd_codec of a layer that is `group` times as
/// wide; groups run in parallel; memory twice the group.
std::unique_ptr<Codec> xkv_codec(const XkvOptions& options);

struct MiniCacheOptions {
  double interpolation = 0.6;           ///< t: 0 the direction of the lower layer, 1 that of the upper
  std::optional<int64_t> first_merged;  ///< lower layer of the first pair; none: half of the layers
};

/// MiniCache (Liu et al., NeurIPS 2024, arXiv 2405.14366): layers (s, s + 1), (s + 2, s + 3), ... from the
/// middle s of the model up share the directions of their keys (or values). For each head and token, with a,
/// b the unit vectors [head_dim] of the lower and upper layer and W = arccos(a . b):
///
///     e = sin((1 - t) W) / sin W a + sin(t W) / sin W b,    x_l ~ |x_l| e
///
/// (SLERP; the nearer of the two where sin W < 1e-6, the other where one is zero.) The 5 % of each head's
/// tokens (rounded down) whose angle W is widest, the earlier of equal ones, are kept unmerged. Payload: e in
/// f16, half of it a layer's. Metadata, a layer: |x_l| of each merged token and its own vectors of the kept
/// ones, in f16, and half of the four bytes of a kept token's index. Layers below s, without a partner or
/// with one of another shape are kept in f16. Angles in fp64. code_layers() throws UsageError for a first
/// layer that the model does not have. Two passes over a pair; heads run in parallel.
std::unique_ptr<Codec> minicache_codec(const MiniCacheOptions& options);

}  // namespace kvviz::compress
