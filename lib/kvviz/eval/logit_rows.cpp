// SPDX-License-Identifier: MIT
#include "kvviz/eval/logit_rows.hpp"

#include <algorithm>

namespace kvviz {

LogitRows::LogitRows(const Decoder& decoder, const at::Tensor& hidden, int64_t first, int64_t rows)
    : logits_(decoder.logits(hidden.narrow(0, first, rows))),
      vocabulary_(logits_.size(1)),
      summaries_(kernels::log_sum_exp(logits_.data_ptr<float>(), rows, vocabulary_)) {}

int64_t LogitRows::best(int64_t r) const {
  const float* const begin = row(r);
  return std::find(begin, begin + vocabulary_, summaries_[static_cast<size_t>(r)].maximum) - begin;
}

}  // namespace kvviz
