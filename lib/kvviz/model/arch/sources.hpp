// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "kvviz/model/arch.hpp"

namespace kvviz::arch {

/// Collects the sources of a model's tensors by our names and theirs, as weight_slots() names ours.
class Sources {
 public:
  explicit Sources(const ModelConfig& config) : config_(config) {}

  void tensor(const std::string& ours, const std::string& theirs) { list_.push_back({ours, theirs}); }
  /// The rows of a stored tensor of `all` rows from `first` on.
  void rows(const std::string& ours, const std::string& theirs, int64_t first, int64_t all) {
    list_.push_back({.ours = ours, .theirs = theirs, .first_row = first, .stored_rows = all});
  }
  /// The weight, and the bias where the model has one.
  void linear(const std::string& ours, const std::string& theirs, bool biased, bool transposed = false) {
    list_.push_back({ours + ".weight", theirs + ".weight", transposed});
    if (biased) list_.push_back({ours + ".bias", theirs + ".bias"});
  }
  /// The scale, `added` to it, and the bias where the model has one.
  void norm(const std::string& ours, const std::string& theirs, double added = 0) {
    list_.push_back({.ours = ours + ".weight", .theirs = theirs + ".weight", .added = added});
    if (config_.norm == NormKind::layer && config_.norm_bias) tensor(ours + ".bias", theirs + ".bias");
  }
  /// The head, where it is not the embedding.
  void head(const std::string& theirs) {
    if (!config_.tied_head) tensor("head.weight", theirs + ".weight");
    if (config_.head_bias) tensor("head.bias", theirs + ".bias");
  }

  /// How `rows` rows of ours stand in a fused tensor.
  struct Part {
    std::string ours;
    int64_t rows = 0;
  };
  /// One tensor that holds several of ours: one after the other, or `groups` times a share of each.
  void fused(const std::vector<Part>& parts, const std::string& theirs, bool biased, int64_t groups = 1,
             bool transposed = false) {
    int64_t all = 0, first = 0;
    for (const Part& part : parts) all += part.rows;
    const int64_t period = groups > 1 ? all / groups : 0;
    for (const Part& part : parts) {
      list_.push_back({part.ours + ".weight", theirs + ".weight", transposed, first, all, period});
      if (biased) list_.push_back({part.ours + ".bias", theirs + ".bias", false, first, all, period});
      first += part.rows / groups;
    }
  }
  /// Query, key and value of a layer in one tensor, in this order.
  void fused_qkv(const std::string& ours, const std::string& theirs, const LayerConfig& layer,
                 int64_t groups = 1, bool transposed = false) {
    const int64_t query = layer.heads * layer.head_dim, kv = layer.kv_heads * layer.head_dim;
    fused({{ours + "query", query}, {ours + "key", kv}, {ours + "value", kv}}, theirs, config_.attention_bias,
          groups, transposed);
  }

  std::vector<WeightSource> take() { return std::move(list_); }

 private:
  const ModelConfig& config_;
  std::vector<WeightSource> list_;
};

}  // namespace kvviz::arch
