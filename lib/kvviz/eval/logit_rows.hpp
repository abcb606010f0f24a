// SPDX-License-Identifier: MIT
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kvviz/kernels/log_sum_exp.hpp"
#include "kvviz/model/decoder.hpp"

namespace kvviz {

/// Rows whose logits are held at once: tokens x vocabulary never exists.
inline constexpr int64_t logit_chunk_rows = 256;

/// f32 logits of consecutive rows of hidden states [rows, hidden], with their normalisers. Row 0 is row
/// `first` of the hidden states.
class LogitRows {
 public:
  LogitRows(const Decoder& decoder, const at::Tensor& hidden, int64_t first, int64_t rows);

  const float* row(int64_t r) const { return logits_.data_ptr<float>() + r * vocabulary_; }
  int64_t vocabulary() const { return vocabulary_; }
  double log_z(int64_t r) const { return summaries_[static_cast<size_t>(r)].log_sum_exp; }
  /// -ln p(id), nats; not finite where the row holds NaN or infinity.
  double nll(int64_t r, int32_t id) const { return log_z(r) - static_cast<double>(row(r)[id]); }
  /// The most likely token, first of equals.
  int64_t best(int64_t r) const;

 private:
  at::Tensor logits_;
  int64_t vocabulary_ = 0;
  std::vector<kernels::RowSummary> summaries_;
};

}  // namespace kvviz
