// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>

namespace kvviz {

struct TrainOptions {
  std::filesystem::path work;
  int64_t steps = 12000;
  int threads = 0;
  int64_t layers = 4, hidden = 128, heads = 8, kv_heads = 4, head_dim = 16, mlp = 384;
  double rate = 5e-3;
  double weight_decay = 0.1;
  uint64_t seed = 1;
};

/// Trains from the last checkpoint in `work`, if any, to `steps`; logs to work/log.tsv; exports work/model.
void train(const TrainOptions& options);

}  // namespace kvviz
