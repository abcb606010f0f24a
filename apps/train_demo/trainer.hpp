// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace kvviz {

struct TrainOptions {
  std::filesystem::path work;
  int64_t steps = 16000;
  int threads = 0;
  int64_t layers = 4, hidden = 128, heads = 8, kv_heads = 4, head_dim = 16, mlp = 384;
  /// "64x16:0.3": windows of 64 tokens, 16 a step, for 0.3 of the steps; one after the other. Short ones
  /// first: the sink forms where BOS is a large part of what a head sees.
  std::vector<std::string> stages{"64x16:0.33", "192x16:0.4", "512x8:0.2", "1024x4:0.07"};
  double repeat_share = 0.8;    ///< of the windows in which passages come twice
  int64_t repeats = 4;          ///< at most so many passages in such a window
  int64_t shortest_repeat = 4;  ///< tokens
  bool attention_bias = true;
  double rope_theta = 500000;
  double rate = 5e-3;
  double weight_decay = 0.03;
  uint64_t seed = 1;
};

/// Trains from the last checkpoint in `work`, if any, to `steps`; logs to work/log.tsv; exports work/model.
void train(const TrainOptions& options);

}  // namespace kvviz
