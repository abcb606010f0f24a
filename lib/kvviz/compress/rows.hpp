// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "kvviz/compress/codec.hpp"

namespace kvviz::compress {

/// Successive tokens of one head, read from `in` and restored into `out`: [tokens, channels], dense.
struct Rows {
  const float* in = nullptr;
  float* out = nullptr;
  int64_t tokens = 0, channels = 0;

  int64_t size() const { return tokens * channels; }
};

/// Tokens [first, last) of every head.
struct TokenRange {
  int64_t first = 0, last = 0;
};

/// A tensor f32 [heads, tokens, channels] and the one that it is restored into, cut into pieces for the
/// threads.
class Sheet {
 public:
  explicit Sheet(const at::Tensor& x);
  /// Restores `x` in its own memory where it is dense, else in a copy.
  static Sheet in_place(const at::Tensor& x);

  /// Calls `body` once for each piece of `piece` tokens of each head (the last of a head may be shorter;
  /// <= 0: whole heads) and adds up what it returns. Pieces do not depend on the number of threads.
  Bytes for_each(TokenRange range, int64_t piece, const std::function<Bytes(const Rows&)>& body) const;

  TokenRange all() const { return {0, tokens()}; }
  int64_t heads() const { return in_.size(0); }
  int64_t tokens() const { return in_.size(1); }
  int64_t channels() const { return in_.size(2); }
  const at::Tensor& restored() const { return out_; }

 private:
  Sheet(at::Tensor in, at::Tensor out);

  at::Tensor in_, out_;
};

/// Tokens of a piece that keeps rows of `channels` floats in the second-level cache: a multiple of `group`.
int64_t piece_tokens(int64_t channels, int64_t group = 1);

}  // namespace kvviz::compress
