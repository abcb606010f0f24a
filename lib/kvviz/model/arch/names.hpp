// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kvviz/model/arch.hpp"

namespace kvviz::arch {

/// How query, key and value stand in a fused tensor: one after the other, or a share of each for every query
/// head, or for every KV head.
enum class Fused { in_turn, by_head, by_kv_head };

/// How a family's files name the tensors of weight_slots(), without ".weight" and ".bias". Which of them a
/// model has, and with which biases, says its configuration; names that it does not need may be missing.
struct TensorNames {
  const char* embedding = "";
  const char* final_norm = "";
  const char* head = "lm_head";
  const char* layers = "";  ///< what stands before the number of a layer, the rest follows it
  const char *attention_norm = "", *mlp_norm = "";
  const char *post_attention_norm = "", *post_mlp_norm = "";
  const char *query = "", *key = "", *value = "";
  const char* qkv = nullptr;  ///< in place of these three
  Fused fused = Fused::in_turn;
  const char *query_norm = "", *key_norm = "";
  const char* output = "";
  const char *gate = "", *up = "", *down = "";
  const char* gate_up = nullptr;  ///< one tensor with both, in this order
  const char* embedding_norm = "";
  double added_to_norms = 0;  ///< to the scale of every norm
  bool transposed = false;    ///< matrices are stored as [in, out]
};

/// One source for every slot, but for learned positions, projections of narrow embeddings, and the MLPs of
/// layers with experts.
std::vector<WeightSource> named_sources(const ModelConfig& config, const TensorNames& names);

/// The weight, and the bias where there is one.
void add_linear(std::vector<WeightSource>& sources, const std::string& ours, const std::string& theirs,
                bool biased, bool transposed = false);

}  // namespace kvviz::arch
