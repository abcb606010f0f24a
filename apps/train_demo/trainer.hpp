// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>

namespace kvviz {

struct TrainOptions {
  std::filesystem::path work;
  int64_t steps = 14000;
  int threads = 0;
  int64_t layers = 6, hidden = 192, heads = 8, kv_heads = 4, head_dim = 32, mlp = 512;
  double rate = 4e-3;
  double weight_decay = 0.2;
  uint64_t seed = 1;
};

/// Trains from the last checkpoint in `work`, if any, to `steps`; logs to work/log.tsv; exports work/model.
void train(const TrainOptions& options);

}  // namespace kvviz
