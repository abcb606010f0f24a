// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/eval/changed_session.hpp"

namespace kvviz {

/// A continuation that was read with a changed cache of the tokens before it.
struct ContinuedRun {
  at::Tensor hidden;  ///< after the final norm, [continuation, hidden]
  /// [layer][query head] |output - full output| / |full output| of the attention, Frobenius norms over the
  /// continuation: errors of the layers before are in it. 0 is best, 1 a silent head.
  std::vector<std::vector<double>> output_error;
};

/// |test - full| / |full| by head of [heads, tokens, head_dim], Frobenius, sums in fp64; |test| where full is
/// 0.
std::vector<double> head_errors(const at::Tensor& test, const at::Tensor& full);

/// A text cut in two: the cache of its prefix, which may be changed in any way, and what the model makes of
/// the continuation with the cache as it is. Keeps the attention outputs of all layers for the continuation.
class SplitText {
 public:
  /// Runs prefix and continuation. `prefix` lies in 1 .. ids - 2. Keys of cache() are before or after RoPE as
  /// `basis` says. Throws UsageError for another prefix.
  SplitText(const Decoder& decoder, std::span<const int32_t> ids, int64_t prefix,
            KeyBasis basis = KeyBasis::post_rope);

  const KvCache& cache() const { return cache_; }       ///< of the prefix, f32
  const at::Tensor& hidden() const { return hidden_; }  ///< of the continuation, full cache
  std::span<const int32_t> prefix() const { return ids_.first(static_cast<size_t>(prefix_)); }
  std::span<const int32_t> continuation() const { return ids_.subspan(static_cast<size_t>(prefix_)); }

  /// Reads the continuation, teacher-forced, behind `layers` in place of the prefix's cache: one entry a
  /// layer, keys in the basis of cache(); keys before RoPE are rotated to where they stood. The cache as it
  /// is gives hidden() and errors of 0, bit for bit. One forward pass of the continuation.
  ContinuedRun run(std::span<const ChangedLayer> layers) const;

  /// `layers` as attention reads them, keys after RoPE.
  std::vector<ChangedLayer> rotated(std::span<const ChangedLayer> layers) const;

 private:
  const Decoder& decoder_;
  std::span<const int32_t> ids_;
  int64_t prefix_;
  KvCache cache_;
  at::Tensor hidden_;
  std::vector<at::Tensor> outputs_;  ///< by layer
};

}  // namespace kvviz
