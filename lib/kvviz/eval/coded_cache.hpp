// SPDX-License-Identifier: MIT
#pragma once
#include <span>
#include <vector>

#include "kvviz/cache/kv_cache.hpp"
#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// A continuation that was read with a changed cache of the tokens before it.
struct CodedRun {
  at::Tensor hidden;  ///< after the final norm, [continuation, hidden]
  /// [layer][query head] |output - full output| / |full output| of the attention, Frobenius norms over the
  /// continuation: errors of the layers before are in it. 0 is best.
  std::vector<std::vector<double>> output_error;
};

/// A text cut in two: the cache of its prefix, which codecs may change, and what the model makes of the
/// continuation with the cache as it is. Keeps the attention outputs of all layers for the continuation.
class SplitText {
 public:
  /// Runs prefix and continuation. `prefix` lies in 1 .. ids - 2. Throws UsageError where it does not.
  SplitText(const Decoder& decoder, std::span<const int32_t> ids, int64_t prefix);

  const KvCache& cache() const { return cache_; }       ///< of the prefix, keys after RoPE, f32
  const at::Tensor& hidden() const { return hidden_; }  ///< of the continuation, full cache
  std::span<const int32_t> continuation() const { return ids_; }

  /// Reads the continuation, teacher-forced, behind `layers` in place of the prefix's cache: one entry a
  /// layer, f32, shapes as in cache(). The cache as it is gives hidden() and errors of 0, bit for bit. One
  /// forward pass of the continuation.
  CodedRun run(std::span<const LayerKv> layers) const;

 private:
  const Decoder& decoder_;
  std::span<const int32_t> ids_;
  KvCache cache_;
  at::Tensor hidden_;
  std::vector<at::Tensor> outputs_;  ///< by layer
};

}  // namespace kvviz
