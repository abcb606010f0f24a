// SPDX-License-Identifier: MIT
#include "kvviz/model/arch/names.hpp"

#include "kvviz/core/error.hpp"

namespace kvviz::arch {
namespace {

/// A tensor of ours inside a fused one.
struct Part {
  const char* ours;
  int64_t rows;
};

class Builder {
 public:
  Builder(const ModelConfig& config, const TensorNames& names) : config_(config), names_(names) {}

  std::vector<WeightSource> build() {
    list_.push_back({"embedding", std::string(names_.embedding) + ".weight"});
    if (config_.embedding_norm) norm("embedding_norm", names_.embedding_norm);
    if (config_.has_final_norm()) norm("final_norm", names_.final_norm);
    if (!config_.tied_head) list_.push_back({"head.weight", std::string(names_.head) + ".weight"});
    if (config_.head_bias) list_.push_back({"head.bias", std::string(names_.head) + ".bias"});
    for (size_t i = 0; i < config_.layers.size(); ++i) {
      ours_ = cat("layers.", i, '.');
      theirs_ = cat(names_.layers, i, '.');
      attention(config_.layers[i]);
      norms();
      if (config_.layers[i].experts.count == 0) mlp(config_.layers[i].mlp_dim);
    }
    return std::move(list_);
  }

 private:
  void norm(const std::string& ours, const std::string& theirs) {
    list_.push_back({.ours = ours + ".weight", .theirs = theirs + ".weight", .added = names_.added_to_norms});
    if (config_.norm == NormKind::layer && config_.norm_bias)
      list_.push_back({ours + ".bias", theirs + ".bias"});
  }

  void layer_norm(const char* ours, const char* theirs) { norm(ours_ + ours, theirs_ + theirs); }

  void linear(const char* ours, const char* theirs, bool biased) {
    add_linear(list_, ours_ + ours, theirs_ + theirs, biased, names_.transposed);
  }

  void fused(const std::vector<Part>& parts, const char* theirs, bool biased, int64_t groups) {
    int64_t all = 0, first = 0;
    for (const Part& part : parts) all += part.rows;
    const int64_t period = groups > 1 ? all / groups : 0;
    const std::string name = theirs_ + theirs;
    for (const Part& part : parts) {
      const std::string ours = ours_ + part.ours;
      list_.push_back({ours + ".weight", name + ".weight", names_.transposed, first, all, period});
      if (biased) list_.push_back({ours + ".bias", name + ".bias", false, first, all, period});
      first += part.rows / groups;
    }
  }

  void attention(const LayerConfig& layer) {
    const bool biased = config_.attention_bias;
    if (names_.qkv != nullptr) {
      const int64_t query = layer.heads * layer.head_dim, kv = layer.kv_heads * layer.head_dim;
      const int64_t groups = names_.fused == Fused::in_turn   ? 1
                             : names_.fused == Fused::by_head ? layer.heads
                                                              : layer.kv_heads;
      fused({{"query", query}, {"key", kv}, {"value", kv}}, names_.qkv, biased, groups);
    } else {
      linear("query", names_.query, biased);
      linear("key", names_.key, biased);
      linear("value", names_.value, biased);
    }
    linear("output", names_.output, config_.output_bias);
  }

  void norms() {
    layer_norm("attention_norm", names_.attention_norm);
    if (config_.residual != Residual::parallel_one_norm) layer_norm("mlp_norm", names_.mlp_norm);
    if (config_.post_norms) {
      layer_norm("post_attention_norm", names_.post_attention_norm);
      layer_norm("post_mlp_norm", names_.post_mlp_norm);
    }
    if (config_.qk_norm) {
      layer_norm("query_norm", names_.query_norm);
      layer_norm("key_norm", names_.key_norm);
    }
  }

  void mlp(int64_t width) {
    if (names_.gate_up != nullptr) {
      fused({{"gate", width}, {"up", width}}, names_.gate_up, config_.mlp_bias, 1);
    } else {
      if (config_.gated_mlp) linear("gate", names_.gate, config_.mlp_bias);
      linear("up", names_.up, config_.mlp_bias);
    }
    linear("down", names_.down, config_.mlp_bias);
  }

  const ModelConfig& config_;
  const TensorNames& names_;
  std::string ours_, theirs_;
  std::vector<WeightSource> list_;
};

}  // namespace

void add_linear(std::vector<WeightSource>& sources, const std::string& ours, const std::string& theirs,
                bool biased, bool transposed) {
  sources.push_back({ours + ".weight", theirs + ".weight", transposed});
  if (biased) sources.push_back({ours + ".bias", theirs + ".bias"});
}

std::vector<WeightSource> named_sources(const ModelConfig& config, const TensorNames& names) {
  return Builder(config, names).build();
}

}  // namespace kvviz::arch
